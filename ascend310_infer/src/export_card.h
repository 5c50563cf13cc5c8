// What the .json beside an exported network says of it (src/deploy/export_card.py writes it).
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "image_sizes.h"

struct Preprocessing {
  ImageSize target;  // an image is resized into (keep_ratio) or onto this
  ImageSize input;   // of the network, at least the target
  bool keep_ratio;
  bool to_rgb;                 // the network's channels are RGB; else BGR
  std::array<double, 3> mean;  // in the order of the network's channels
  std::array<double, 3> deviation;
};

enum class Type { kFloat32, kInt32, kBool };

// An output of the network, of one image.
struct Output {
  Type type;
  std::vector<int64_t> shape;  // the batch apart

  // Values, and bytes of the result file.
  size_t count() const;
  size_t bytes() const { return count() * (type == Type::kBool ? 1 : 4); }
};

struct ExportCard {
  Preprocessing preprocessing;
  bool takes_info;  // the network's inputs are image and image_info; else image alone
  // In the network's order. Raw form: boxes [N, 4], scores [N, C]. Detections: boxes [M, 4], scores [M], labels [M],
  // valid [M] and, where there are masks, masks [M, S, S].
  std::vector<Output> outputs;
  int64_t classes;  // without background

  // Bytes of the result files of an image.
  size_t result_bytes() const;
};

// The card beside a network: a.json of a.mindir, a.ms.json of a.ms or, where that is missing, a.onnx.json of the file
// that MindSpore Lite converted it from. UserError: missing, not such a file, or of a network that this program cannot run.
ExportCard read_export_card(const std::string &mindir_path);
