#include "run.h"

#include <chrono>
#include <iostream>

#include "decode.h"
#include "image_files.h"
#include "network_input.h"
#include "result_files.h"
#include "user_error.h"

namespace fs = std::filesystem;

namespace {

std::optional<ImageSize> size_of(const std::map<std::string, ImageSize> &sizes, const fs::path &image) {
  const auto found = sizes.find(image.filename().string());
  if (found == sizes.end()) return std::nullopt;
  return found->second;
}

// The image and, where the network takes it, image_info.
std::vector<std::vector<float>> inputs_of(const cv::Mat &image, const ExportCard &card) {
  std::vector<std::vector<float>> inputs = {network_input(image, card.preprocessing)};
  if (card.takes_info) {
    const auto info = image_info({image.rows, image.cols}, card.preprocessing);
    inputs.emplace_back(info.begin(), info.end());
  }
  return inputs;
}

}  // namespace

void run(const Arguments &arguments, const ExportCard &card, Predictor &predictor) {
  using Milliseconds = std::chrono::duration<double, std::milli>;
  std::map<std::string, ImageSize> sizes;
  if (!arguments.anno_path.empty()) sizes = read_image_sizes(arguments.anno_path);
  const std::vector<fs::path> images = find_images(arguments.dataset_path);
  prepare_folders(arguments.output_path, images.size(), card.result_bytes());
  Milliseconds total{0};
  size_t predicted = 0, seen = 0;
  for (const fs::path &path : images) {
    try {
      const auto inputs = inputs_of(load_image(path, size_of(sizes, path)), card);
      const auto start = std::chrono::steady_clock::now();
      const std::vector<Tensor> outputs = predictor.predict(inputs);
      total += std::chrono::steady_clock::now() - start;
      write_results(arguments.output_path, path.stem().string(), outputs);
      predicted++;
    } catch (const ImageError &error) {
      std::cerr << "warning: " << error.what() << "; skipped" << std::endl;
    }
    if (++seen % 500 == 0) std::cout << seen << "/" << images.size() << " images" << std::endl;
  }
  if (predicted == 0) throw UserError(arguments.dataset_path + ": none of its images could be read");
  std::cout << predicted << " of " << images.size() << " images predicted\n"
            << write_times(arguments.output_path, total.count(), predicted) << std::flush;
}
