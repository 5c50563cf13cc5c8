// What is written: result_Files/<stem>_0.bin and so on, time_Result/test_perform_static.txt.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "predictor.h"

// Makes the two folders in `output_path` and removes the results of an earlier run. UserError: this cannot be done, or
// the disk has no room for the results of so many images.
void prepare_folders(const std::filesystem::path &output_path, size_t images, size_t bytes_per_image);

// Writes the outputs of an image, output k to <stem>_k.bin. A file that is there is whole.
void write_results(const std::filesystem::path &output_path, const std::string &stem,
                   const std::vector<Tensor> &outputs);

// Writes the mean time of a prediction and how many there were; returns the line.
std::string write_times(const std::filesystem::path &output_path, double total_milliseconds, size_t images);
