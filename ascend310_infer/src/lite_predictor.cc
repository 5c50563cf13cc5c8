// The few lines that call the chip, or the CPU, through MindSpore Lite's C++ interface.
#include <include/api/context.h>
#include <include/api/model.h>
#include <include/api/status.h>
#include <include/api/types.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
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

mindspore::DataType lite_type(Type type) {
  switch (type) {
    case Type::kInt32: return mindspore::DataType::kNumberTypeInt32;
    case Type::kBool: return mindspore::DataType::kNumberTypeBool;
    default: return mindspore::DataType::kNumberTypeFloat32;
  }
}

const char *name_of(Type type) {
  return type == Type::kInt32 ? "int32 " : type == Type::kBool ? "bool " : "float32 ";
}

class LitePredictor : public Predictor {
 public:
  LitePredictor(const ExportCard &card, const Arguments &arguments) : card_(card) {
    const std::string &mindir_path = arguments.mindir_path;
    const std::string place = arguments.device == "CPU" ? "the CPU" : "the chip";
    const bool is_ms = std::filesystem::path(mindir_path).extension() == ".ms";
    const mindspore::ModelType type = is_ms ? mindspore::kMindIR_Lite : mindspore::kMindIR;
    require(model_.Build(mindir_path, type, context_of(arguments)),
            mindir_path + ": cannot be built for " + place);
    inputs_ = model_.GetInputs();
    const ImageSize size = card.preprocessing.input;
    std::vector<std::vector<int64_t>> shapes = {{1, 3, size.height, size.width}};
    if (card.takes_info) shapes.push_back({1, 6});
    if (inputs_.size() != shapes.size()) {
      throw std::runtime_error(mindir_path + ": has " + std::to_string(inputs_.size()) + " inputs, its card " +
                               std::to_string(shapes.size()));
    }
    bool same = true;
    for (size_t i = 0; i < shapes.size(); i++) same = same && inputs_[i].Shape() == shapes[i];
    if (!same) {  // a batch that may be of any size
      require(model_.Resize(inputs_, shapes), mindir_path + ": takes no batch of one image");
      inputs_ = model_.GetInputs();
    }
  }

  std::vector<Tensor> predict(const std::vector<std::vector<float>> &inputs) override {
    for (size_t i = 0; i < inputs_.size(); i++) {
      mindspore::MSTensor &input = inputs_[i];
      const size_t bytes = inputs.at(i).size() * sizeof(float);
      if (input.DataType() != mindspore::DataType::kNumberTypeFloat32 || input.DataSize() != bytes) {
        throw std::runtime_error("an input of the network is " + text_of(input.Shape()) +
                                 " and not the float32 of its card");
      }
      std::memcpy(input.MutableData(), inputs[i].data(), bytes);
    }
    require(model_.Predict(inputs_, &outputs_), "the prediction failed");
    if (outputs_.size() != card_.outputs.size()) {
      throw std::runtime_error("the network has " + std::to_string(outputs_.size()) + " outputs, its card " +
                               std::to_string(card_.outputs.size()));
    }
    std::vector<Tensor> found;
    for (size_t k = 0; k < outputs_.size(); k++) found.push_back(checked(outputs_[k], card_.outputs[k]));
    return found;
  }

 private:
  static Tensor checked(const mindspore::MSTensor &found, const Output &output) {
    std::vector<int64_t> expected = {1};
    expected.insert(expected.end(), output.shape.begin(), output.shape.end());
    if (found.DataType() != lite_type(output.type) || found.Shape() != expected) {
      throw std::runtime_error("an output is " + text_of(found.Shape()) + ", its card says " + name_of(output.type) +
                               text_of(expected));
    }
    return {found.Data(), output.bytes()};
  }

  const ExportCard card_;
  mindspore::Model model_;
  std::vector<mindspore::MSTensor> inputs_, outputs_;
};

}  // namespace

std::unique_ptr<Predictor> make_predictor(const ExportCard &card, const Arguments &arguments) {
  return std::make_unique<LitePredictor>(card, arguments);
}
