// Stands in for the chip where there is none: its float32 outputs are the inputs' values, repeated; labels
// count up, and truth values are true. For tests.
#include <cstring>

#include "predictor.h"

namespace {

class StandInPredictor : public Predictor {
 public:
  explicit StandInPredictor(const ExportCard &card) : card_(card) {}

  std::vector<Tensor> predict(const std::vector<std::vector<float>> &inputs) override {
    std::vector<float> seen;
    for (const std::vector<float> &input : inputs) seen.insert(seen.end(), input.begin(), input.end());
    std::vector<Tensor> outputs;
    size_t place = 0;
    for (const Output &output : card_.outputs) {
      const auto bytes = std::make_shared<std::vector<char>>(output.bytes(), 1);
      for (size_t i = 0; output.type != Type::kBool && i < output.count(); i++) {
        if (output.type == Type::kInt32) {
          const auto label = static_cast<int32_t>(i % static_cast<size_t>(card_.classes));
          std::memcpy(bytes->data() + 4 * i, &label, 4);
        } else {
          std::memcpy(bytes->data() + 4 * i, &seen[place++ % seen.size()], 4);
        }
      }
      outputs.push_back({std::shared_ptr<const void>(bytes, bytes->data()), bytes->size()});
    }
    return outputs;
  }

 private:
  const ExportCard card_;
};

}  // namespace

std::unique_ptr<Predictor> make_predictor(const ExportCard &card, const Arguments &) {
  return std::make_unique<StandInPredictor>(card);
}
