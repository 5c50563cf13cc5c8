// What the .json beside an exported network says of it (src/deploy/export_card.py writes it).
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "image_sizes.h"

struct Preprocessing {
  ImageSize target;  // an image is resized into (keep_ratio) or onto this
  ImageSize input;   // of the network, at least the target
  bool keep_ratio;
  bool to_rgb;                 // the network's channels are RGB; else BGR
  std::array<double, 3> mean;  // in the order of the network's channels
  std::array<double, 3> deviation;
};

struct ExportCard {
  Preprocessing preprocessing;
  int64_t anchors;  // N
  int64_t classes;  // C, without background

  // Bytes of the result files of an image.
  size_t result_bytes() const { return static_cast<size_t>(anchors * (4 + classes)) * sizeof(float); }
};

// The card beside a network: a.json of a.mindir or, where that is missing, a.onnx.json of the file that MindSpore Lite
// converted it from. UserError: missing, not such a file, or of
// a form that this program cannot run.
ExportCard read_export_card(const std::string &mindir_path);
