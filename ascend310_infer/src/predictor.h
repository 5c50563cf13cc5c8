// What stands between this program and the chip.
#pragma once

#include <memory>
#include <vector>

#include "arguments.h"
#include "export_card.h"

// The values of an output on the host, as the card describes them.
struct Tensor {
  std::shared_ptr<const void> data;
  size_t bytes;
};

class Predictor {
 public:
  virtual ~Predictor() = default;

  // Predicts one image: the outputs of the card, in its order. What it returns may be overwritten by the next call.
  // inputs: the image [3, H, W] and, where the network takes it, image_info [6].
  virtual std::vector<Tensor> predict(const std::vector<std::vector<float>> &inputs) = 0;
};

// The predictor that this program was built with (CMake's PREDICTOR). std::runtime_error: the network cannot be loaded.
std::unique_ptr<Predictor> make_predictor(const ExportCard &card, const Arguments &arguments);
