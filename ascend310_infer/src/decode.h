// Encoded images to pixels, as src/data/image.py does it.
#pragma once

#include <filesystem>
#include <opencv2/core.hpp>
#include <optional>
#include <stdexcept>

#include "image_sizes.h"

// An image that cannot be read; the message is one line that starts with its path.
class ImageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// 8-bit BGR pixels [height, width, 3]: grey, palette and 16-bit images are converted, an alpha channel is dropped.
// EXIF's orientation is applied, except when only the unrotated size is the `expected` one.
// ImageError: missing, empty, truncated, not an image, or not of the expected size.
cv::Mat load_image(const std::filesystem::path &path, std::optional<ImageSize> expected = std::nullopt);
