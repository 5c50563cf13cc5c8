// What stands between this program and the chip.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "arguments.h"
#include "export_card.h"

// float32 values on the host.
struct Tensor {
  std::shared_ptr<const void> data;
  std::vector<int64_t> shape;

  size_t bytes() const {
    size_t count = sizeof(float);
    for (int64_t side : shape) count *= static_cast<size_t>(side);
    return count;
  }
};

// The raw form of a network's output, of one image.
struct RawOutputs {
  Tensor boxes;   // [N, 4]: x1 y1 x2 y2 in pixels of the network's input
  Tensor scores;  // [N, C]: of the classes without background
};

class Predictor {
 public:
  virtual ~Predictor() = default;

  // Predicts one image, the network's input [3, H, W]. What it returns may be overwritten by the next call.
  virtual RawOutputs predict(const std::vector<float> &image) = 0;
};

// The predictor that this program was built with (CMake's PREDICTOR). std::runtime_error: the network cannot be loaded.
std::unique_ptr<Predictor> make_predictor(const ExportCard &card, const Arguments &arguments);
