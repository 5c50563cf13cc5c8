// The lines that call the chip, against a fake of MindSpore Lite's interface.
#include <include/api/model.h>

#include <stdexcept>

#include "check.h"
#include "predictor.h"

namespace {

using mindspore::DataType;
using mindspore::fake_network;
using mindspore::kCoreFailed;
using mindspore::MSTensor;
using Tensors = std::vector<MSTensor>;

ExportCard card() {
  ExportCard made{};
  made.preprocessing.input = {2, 3};
  made.anchors = 5;
  made.classes = 2;
  return made;
}

const Tensors kInputs = {MSTensor({1, 3, 2, 3})}, kOutputs = {MSTensor({1, 5, 4}), MSTensor({1, 5, 2})};

Arguments arguments() {
  Arguments made;
  made.mindir_path = "a.mindir";
  made.device_id = 2;
  return made;
}

RawOutputs predict(const Tensors &inputs, const Tensors &outputs, mindspore::Status build = {},
                   mindspore::Status status = {}, const Arguments &where = arguments()) {
  fake_network = {inputs, outputs, build, status};
  return make_predictor(card(), where)->predict(std::vector<float>(18, 40.0f));
}

std::string failure_of(const Tensors &inputs, const Tensors &outputs, mindspore::Status build = {},
                       mindspore::Status status = {}) {
  return message_of<std::runtime_error>([&] { predict(inputs, outputs, build, status); });
}

}  // namespace

int main() {
  for (const Tensors &inputs : {kInputs, Tensors{MSTensor({-1, 3, 2, 3})}}) {
    const RawOutputs found = predict(inputs, kOutputs);
    CHECK(*static_cast<const float *>(found.boxes.data.get()) == 42.0f);
    CHECK((found.boxes.shape == std::vector<int64_t>{5, 4}) && (found.scores.shape == std::vector<int64_t>{5, 2}));
  }
  Arguments cpu = arguments();
  cpu.device = "CPU";
  cpu.threads = 5;
  CHECK(*static_cast<const float *>(predict(kInputs, kOutputs, {}, {}, cpu).boxes.data.get()) == 45.0f);
  cpu.threads = 0;
  CHECK(*static_cast<const float *>(predict(kInputs, kOutputs, {}, {}, cpu).boxes.data.get()) > 40.0f);
  CHECK(contains(message_of<std::runtime_error>([&] { predict(kInputs, kOutputs, {kCoreFailed, "no"}, {}, cpu); }),
                 "a.mindir: cannot be built for the CPU: no"));
  CHECK(failure_of(kInputs, kOutputs, {kCoreFailed, "no chip"}) == "a.mindir: cannot be built for the chip: no chip");
  CHECK(failure_of(kInputs, kOutputs, {}, {kCoreFailed, "hot"}) == "the prediction failed: hot");
  CHECK(contains(failure_of({kInputs[0], kInputs[0]}, kOutputs), "has 2 inputs"));
  CHECK(contains(failure_of({MSTensor({4, 3, 2, 3})}, kOutputs), "takes no batch of one image"));
  CHECK(contains(failure_of({MSTensor({1, 3, 2, 3}, DataType::kNumberTypeFloat16)}, kOutputs), "not the float32"));
  CHECK(contains(failure_of(kInputs, {kOutputs[0]}), "has 1 outputs"));
  CHECK(contains(failure_of(kInputs, {kOutputs[1], kOutputs[0]}), "an output is [1, 5, 2], its card says float32 [1, 5, 4]"));
  CHECK(contains(failure_of(kInputs, {kOutputs[0], MSTensor({1, 5, 2}, DataType::kNumberTypeFloat16)}), "an output is"));
  return failures == 0 ? 0 : 1;
}
