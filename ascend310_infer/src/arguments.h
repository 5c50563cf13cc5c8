// The command line.
#pragma once

#include <string>
#include <vector>

struct Arguments {
  std::string mindir_path;
  std::string dataset_path;
  std::string anno_path;  // "": the sizes of images are not checked
  std::string output_path = ".";
  std::string device = "Ascend";  // or CPU
  unsigned device_id = 0;
  unsigned threads = 0;  // of the CPU; 0: as many as it has cores
  bool help = false;
};

// What --help prints.
extern const char *const kUsage;

// Reads `--name value` and `--name=value`. UserError: an unknown name, a missing value or path, a device that is
// neither Ascend nor CPU, a number that is none.
Arguments parse_arguments(const std::vector<std::string> &words);
