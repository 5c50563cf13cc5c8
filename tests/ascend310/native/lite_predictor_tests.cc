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

using Found = std::vector<Tensor>;

ExportCard card() {
  ExportCard made{};
  made.preprocessing.input = {2, 3};
  made.outputs = {{Type::kFloat32, {5, 4}}, {Type::kFloat32, {5, 2}}};
  made.classes = 2;
  return made;
}

ExportCard card_of_detections() {
  ExportCard made = card();
  made.takes_info = true;
  made.outputs = {{Type::kFloat32, {5, 4}}, {Type::kFloat32, {5}}, {Type::kInt32, {5}}, {Type::kBool, {5}},
                  {Type::kFloat32, {5, 28, 28}}};
  return made;
}

const Tensors kInputs = {MSTensor({1, 3, 2, 3})}, kOutputs = {MSTensor({1, 5, 4}), MSTensor({1, 5, 2})};
const Tensors kBothInputs = {kInputs[0], MSTensor({1, 6})};
const Tensors kDetections = {MSTensor({1, 5, 4}), MSTensor({1, 5}), MSTensor({1, 5}, DataType::kNumberTypeInt32),
                             MSTensor({1, 5}, DataType::kNumberTypeBool), MSTensor({1, 5, 28, 28})};

Arguments arguments() {
  Arguments made;
  made.mindir_path = "a.mindir";
  made.device_id = 2;
  return made;
}

float first_of(const Tensor &tensor) { return *static_cast<const float *>(tensor.data.get()); }

Found predict(const Tensors &inputs, const Tensors &outputs, mindspore::Status build = {},
              mindspore::Status status = {}, const Arguments &where = arguments()) {
  fake_network = {inputs, outputs, build, status};
  return make_predictor(card(), where)->predict({std::vector<float>(18, 40.0f)});
}

Found detect(const Tensors &inputs, const Tensors &outputs) {
  fake_network = {inputs, outputs, {}, {}};
  const auto predictor = make_predictor(card_of_detections(), arguments());
  return predictor->predict({std::vector<float>(18, 40.0f), std::vector<float>(6, 100.0f)});
}

std::string failure_of(const Tensors &inputs, const Tensors &outputs, mindspore::Status build = {},
                       mindspore::Status status = {}) {
  return message_of<std::runtime_error>([&] { predict(inputs, outputs, build, status); });
}

}  // namespace

int main() {
  for (const Tensors &inputs : {kInputs, Tensors{MSTensor({-1, 3, 2, 3})}}) {
    const Found found = predict(inputs, kOutputs);
    CHECK(found.size() == 2 && first_of(found[0]) == 42.0f);
    CHECK(found[0].bytes == 5 * 4 * 4 && found[1].bytes == 5 * 2 * 4);
  }
  for (const Tensors &inputs : {kBothInputs, Tensors{MSTensor({-1, 3, 2, 3}), MSTensor({-1, 6})}}) {
    const Found found = detect(inputs, kDetections);
    CHECK(found.size() == 5 && first_of(found[0]) == 142.0f);
    CHECK(found[1].bytes == 20 && found[2].bytes == 20 && found[3].bytes == 5 && found[4].bytes == 5 * 28 * 28 * 4);
  }
  const auto refused = [](const Tensors &inputs, const Tensors &outputs) {
    return message_of<std::runtime_error>([&] { detect(inputs, outputs); });
  };
  CHECK(contains(refused(kInputs, kDetections), "a.mindir: has 1 inputs, its card 2"));
  CHECK(contains(refused({kInputs[0], MSTensor({1, 7})}, kDetections), "takes no batch of one image"));
  CHECK(contains(refused(kBothInputs, kOutputs), "has 2 outputs, its card 5"));
  Tensors wrong = kDetections;
  wrong[2] = MSTensor({1, 5});
  CHECK(contains(refused(kBothInputs, wrong), "an output is [1, 5], its card says int32 [1, 5]"));
  wrong = kDetections;
  wrong[3] = MSTensor({1, 5});
  CHECK(contains(refused(kBothInputs, wrong), "an output is [1, 5], its card says bool [1, 5]"));

  Arguments cpu = arguments();
  cpu.device = "CPU";
  cpu.threads = 5;
  CHECK(first_of(predict(kInputs, kOutputs, {}, {}, cpu)[0]) == 45.0f);
  cpu.threads = 0;
  CHECK(first_of(predict(kInputs, kOutputs, {}, {}, cpu)[0]) > 40.0f);
  CHECK(contains(message_of<std::runtime_error>([&] { predict(kInputs, kOutputs, {kCoreFailed, "no"}, {}, cpu); }),
                 "a.mindir: cannot be built for the CPU: no"));
  CHECK(failure_of(kInputs, kOutputs, {kCoreFailed, "no chip"}) == "a.mindir: cannot be built for the chip: no chip");
  CHECK(failure_of(kInputs, kOutputs, {}, {kCoreFailed, "hot"}) == "the prediction failed: hot");
  CHECK(contains(failure_of({kInputs[0], kInputs[0]}, kOutputs), "has 2 inputs, its card 1"));
  CHECK(contains(failure_of({MSTensor({4, 3, 2, 3})}, kOutputs), "takes no batch of one image"));
  CHECK(contains(failure_of({MSTensor({1, 3, 2, 3}, DataType::kNumberTypeFloat16)}, kOutputs), "not the float32"));
  CHECK(contains(failure_of(kInputs, {kOutputs[0]}), "has 1 outputs"));
  CHECK(contains(failure_of(kInputs, {kOutputs[1], kOutputs[0]}), "an output is [1, 5, 2], its card says float32 [1, 5, 4]"));
  CHECK(contains(failure_of(kInputs, {kOutputs[0], MSTensor({1, 5, 2}, DataType::kNumberTypeFloat16)}), "an output is"));
  return failures == 0 ? 0 : 1;
}
