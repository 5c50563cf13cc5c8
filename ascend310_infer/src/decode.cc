#include "decode.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <opencv2/imgcodecs.hpp>
#include <string>
#include <vector>

namespace {

using Bytes = std::vector<unsigned char>;

Bytes read_bytes(const std::string &path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw ImageError(path + ": " + std::strerror(errno));
  Bytes bytes(std::istreambuf_iterator<char>(file), {});
  if (file.bad()) throw ImageError(path + ": cannot be read");
  if (bytes.empty()) throw ImageError(path + ": the file is empty");
  return bytes;
}

// Whether a file that starts as a JPEG does not reach its end marker (ITU T.81, annex B). Some releases of OpenCV fill
// the missing part with grey and call it an image.
bool is_truncated_jpeg(const Bytes &bytes) {
  constexpr unsigned char kMark = 0xFF, kStart = 0xD8, kEnd = 0xD9, kRestart0 = 0xD0, kRestart7 = 0xD7;
  if (bytes.size() < 2 || bytes[0] != kMark || bytes[1] != kStart) return false;
  size_t i = 2;
  while (i + 1 < bytes.size()) {
    const unsigned char marker = bytes[i + 1];
    if (bytes[i] != kMark || marker == kMark) {  // data of a scan, or fill bytes
      i++;
    } else if (marker == kEnd) {
      return false;
    } else if (marker <= 0x01 || (marker >= kRestart0 && marker <= kRestart7)) {  // alone, without a segment
      i += 2;
    } else if (i + 3 < bytes.size()) {
      i += 2 + (bytes[i + 2] << 8 | bytes[i + 3]);
    } else {
      return true;
    }
  }
  return true;
}

cv::Mat decode(const std::string &name, const Bytes &bytes, int flags) {
  cv::Mat image;
  std::string reason = "broken, truncated or not an image";
  try {
    if (!is_truncated_jpeg(bytes)) image = cv::imdecode(bytes, flags);
  } catch (const std::exception &) {  // such as a size beyond OpenCV's limits
    reason = "cannot be decoded";
  }
  if (image.empty()) throw ImageError(name + ": " + reason);
  return image;
}

std::string size_text(int height, int width) { return std::to_string(width) + "x" + std::to_string(height); }

}  // namespace

cv::Mat load_image(const std::filesystem::path &path, std::optional<ImageSize> expected) {
  const std::string name = path.string();
  const Bytes bytes = read_bytes(name);
  const cv::Mat image = decode(name, bytes, cv::IMREAD_COLOR);
  if (!expected || (image.rows == expected->height && image.cols == expected->width)) return image;
  if (image.rows == expected->width && image.cols == expected->height) {
    const cv::Mat stored = decode(name, bytes, cv::IMREAD_COLOR | cv::IMREAD_IGNORE_ORIENTATION);
    if (stored.rows == expected->height && stored.cols == expected->width) return stored;
  }
  throw ImageError(name + ": the image is " + size_text(image.rows, image.cols) +
                   " pixels (width x height), its annotation says " + size_text(expected->height, expected->width));
}
