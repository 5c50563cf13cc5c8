#include "network_input.h"

#include <algorithm>
#include <opencv2/imgproc.hpp>

namespace {

int rounded(double side) { return std::max(static_cast<int>(side + 0.5), 1); }

// The normalized values of all 256 levels of a channel.
std::array<float, 256> level_table(double mean, double deviation) {
  std::array<float, 256> table;
  for (int level = 0; level < 256; level++) table[level] = static_cast<float>((level - mean) / deviation);
  return table;
}

}  // namespace

ImageSize resized_size(ImageSize image, ImageSize target, bool keep_ratio) {
  if (!keep_ratio) return target;
  const double factor =
      std::min(static_cast<double>(target.height) / image.height, static_cast<double>(target.width) / image.width);
  return {rounded(image.height * factor), rounded(image.width * factor)};
}

std::vector<float> network_input(const cv::Mat &bgr, const Preprocessing &preprocessing) {
  const ImageSize size = resized_size({bgr.rows, bgr.cols}, preprocessing.target, preprocessing.keep_ratio);
  cv::Mat image = bgr;
  if (size.height != bgr.rows || size.width != bgr.cols) {
    cv::resize(bgr, image, cv::Size(size.width, size.height), 0, 0, cv::INTER_LINEAR);
  }
  const ImageSize input = preprocessing.input;
  const size_t plane = static_cast<size_t>(input.height) * input.width;
  std::vector<float> values(3 * plane, 0.0f);
  for (int channel = 0; channel < 3; channel++) {
    const auto table = level_table(preprocessing.mean[channel], preprocessing.deviation[channel]);
    const int stored = preprocessing.to_rgb ? 2 - channel : channel;
    for (int y = 0; y < image.rows; y++) {
      const unsigned char *pixels = image.ptr(y) + stored;
      float *row = values.data() + channel * plane + static_cast<size_t>(y) * input.width;
      for (int x = 0; x < image.cols; x++) row[x] = table[pixels[3 * x]];
    }
  }
  return values;
}

std::array<float, 6> image_info(ImageSize original, const Preprocessing &preprocessing) {
  const ImageSize size = resized_size(original, preprocessing.target, preprocessing.keep_ratio);
  return {static_cast<float>(original.height),
          static_cast<float>(original.width),
          static_cast<float>(size.height),
          static_cast<float>(size.width),
          static_cast<float>(static_cast<double>(size.height) / original.height),
          static_cast<float>(static_cast<double>(size.width) / original.width)};
}
