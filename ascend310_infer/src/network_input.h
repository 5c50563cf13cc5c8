// From pixels to the network's input, as src/data/network_input.py does it.
#pragma once

#include <array>
#include <opencv2/core.hpp>
#include <vector>

#include "export_card.h"
#include "image_sizes.h"

// Size of an image resized into (keep_ratio) or stretched onto the target, at least 1 x 1.
ImageSize resized_size(ImageSize image, ImageSize target, bool keep_ratio);

// The input [3, height, width] of 8-bit BGR pixels: resized, (pixel - mean) / std, and 0 right of and below the image.
std::vector<float> network_input(const cv::Mat &bgr, const Preprocessing &preprocessing);

// image_info of an image of this size: its height, width; its height, width when resized; resized / original height,
// width.
std::array<float, 6> image_info(ImageSize original, const Preprocessing &preprocessing);
