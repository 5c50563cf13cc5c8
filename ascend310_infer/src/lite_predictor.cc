// The few lines that call the chip, or the CPU, through MindSpore Lite's C++ interface.
#include <include/api/context.h>
#include <include/api/model.h>
#include <include/api/status.h>
#include <include/api/types.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <thread>

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

std::shared_ptr<mindspore::Context> context_of(const Arguments &arguments) {
  const auto context = std::make_shared<mindspore::Context>();
  if (arguments.device == "CPU") {
    const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
    context->SetThreadNum(static_cast<int32_t>(arguments.threads > 0 ? arguments.threads : cores));
    context->MutableDeviceInfo().push_back(std::make_shared<mindspore::CPUDeviceInfo>());
  } else {
    const auto chip = std::make_shared<mindspore::AscendDeviceInfo>();
    chip->SetDeviceID(arguments.device_id);
    context->MutableDeviceInfo().push_back(chip);
  }
  return context;
}

class LitePredictor : public Predictor {
 public:
  LitePredictor(const ExportCard &card, const Arguments &arguments) : card_(card) {
    const std::string &mindir_path = arguments.mindir_path;
    const std::string place = arguments.device == "CPU" ? "the CPU" : "the chip";
    require(model_.Build(mindir_path, mindspore::kMindIR, context_of(arguments)),
            mindir_path + ": cannot be built for " + place);
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

std::unique_ptr<Predictor> make_predictor(const ExportCard &card, const Arguments &arguments) {
  return std::make_unique<LitePredictor>(card, arguments);
}
