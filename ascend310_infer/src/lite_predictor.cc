// The few lines that call the chip, through MindSpore Lite's C++ interface.
#include <include/api/context.h>
#include <include/api/model.h>
#include <include/api/status.h>
#include <include/api/types.h>

#include <cstring>
#include <stdexcept>

#include "predictor.h"

namespace {

void require(const mindspore::Status &status, const std::string &what) {
  if (status != mindspore::kSuccess) throw std::runtime_error(what + ": " + status.ToString());
}

std::string text_of(const std::vector<int64_t> &shape) {
  std::string text = "[";
  for (int64_t side : shape) text += (text.size() > 1 ? ", " : "") + std::to_string(side);
  return text + "]";
}

class LitePredictor : public Predictor {
 public:
  LitePredictor(const std::string &mindir_path, const ExportCard &card, unsigned device_id) : card_(card) {
    const auto device = std::make_shared<mindspore::AscendDeviceInfo>();
    device->SetDeviceID(device_id);
    const auto context = std::make_shared<mindspore::Context>();
    context->MutableDeviceInfo().push_back(device);
    require(model_.Build(mindir_path, mindspore::kMindIR, context), mindir_path + ": cannot be built for the chip");
    inputs_ = model_.GetInputs();
    if (inputs_.size() != 1) {
      throw std::runtime_error(mindir_path + ": has " + std::to_string(inputs_.size()) + " inputs, not one image");
    }
    const std::vector<int64_t> shape = {1, 3, card.preprocessing.input.height, card.preprocessing.input.width};
    if (inputs_[0].Shape() != shape) {  // a batch that may be of any size
      require(model_.Resize(inputs_, {shape}), mindir_path + ": takes no batch of one image");
      inputs_ = model_.GetInputs();
    }
  }

  RawOutputs predict(const std::vector<float> &image) override {
    mindspore::MSTensor &input = inputs_[0];
    const size_t bytes = image.size() * sizeof(float);
    if (input.DataType() != mindspore::DataType::kNumberTypeFloat32 || input.DataSize() != bytes) {
      throw std::runtime_error("the network's input is " + text_of(input.Shape()) + " and not the float32 of its card");
    }
    std::memcpy(input.MutableData(), image.data(), bytes);
    require(model_.Predict(inputs_, &outputs_), "the prediction failed");
    if (outputs_.size() != 2) {
      throw std::runtime_error("the network has " + std::to_string(outputs_.size()) + " outputs, not boxes and scores");
    }
    return {output(outputs_[0], 4), output(outputs_[1], card_.classes)};
  }

 private:
  Tensor output(const mindspore::MSTensor &found, int64_t columns) const {
    const std::vector<int64_t> expected = {1, card_.anchors, columns};
    if (found.DataType() != mindspore::DataType::kNumberTypeFloat32 || found.Shape() != expected) {
      throw std::runtime_error("an output is " + text_of(found.Shape()) + ", its card says float32 " +
                               text_of(expected));
    }
    return {found.Data(), {card_.anchors, columns}};
  }

  const ExportCard card_;
  mindspore::Model model_;
  std::vector<mindspore::MSTensor> inputs_, outputs_;
};

}  // namespace

std::unique_ptr<Predictor> make_predictor(const std::string &mindir_path, const ExportCard &card, unsigned device_id) {
  return std::make_unique<LitePredictor>(mindir_path, card, device_id);
}
