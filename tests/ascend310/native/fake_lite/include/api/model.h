// The fake network is described by a global. Its outputs begin with the sum of the chip's number, or the CPU's number of
// threads, and the first value of each input.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "include/api/context.h"
#include "include/api/status.h"
#include "include/api/types.h"

namespace mindspore {

struct FakeNetwork {
  std::vector<MSTensor> inputs, outputs;
  Status build, predict;
};
inline FakeNetwork fake_network;

class Model {
 public:
  Status Build(const std::string &, ModelType, const std::shared_ptr<Context> &context) {
    const auto *chip = dynamic_cast<const AscendDeviceInfo *>(context->MutableDeviceInfo().at(0).get());
    device_ = chip == nullptr ? static_cast<uint32_t>(context->GetThreadNum()) : chip->GetDeviceID();
    inputs_ = fake_network.inputs;
    return fake_network.build;
  }

  Status Resize(const std::vector<MSTensor> &, const std::vector<std::vector<int64_t>> &shapes) {
    if (inputs_[0].Shape()[0] != -1) return {kCoreFailed, "fixed shape"};
    inputs_.clear();
    for (const std::vector<int64_t> &shape : shapes) inputs_.emplace_back(shape);
    return kSuccess;
  }

  std::vector<MSTensor> GetInputs() { return inputs_; }

  Status Predict(const std::vector<MSTensor> &inputs, std::vector<MSTensor> *outputs) {
    *outputs = fake_network.outputs;
    float sum = static_cast<float>(device_);
    for (const MSTensor &input : inputs) sum += *static_cast<const float *>(input.Data().get());
    for (MSTensor &output : *outputs) *static_cast<float *>(output.MutableData()) = sum;
    return fake_network.predict;
  }

 private:
  uint32_t device_ = 0;
  std::vector<MSTensor> inputs_;
};

}  // namespace mindspore
