// As much of MindSpore Lite's interface as the program uses, by the documented names and types, without a chip behind it.
// It shows that the program fits what the documentation says, not that it runs on a chip.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

namespace mindspore {

enum class DataType : int {
  kTypeUnknown = 0,
  kNumberTypeBool = 30,
  kNumberTypeInt32 = 34,
  kNumberTypeFloat16 = 42,
  kNumberTypeFloat32 = 43,
};

enum ModelType : uint32_t { kMindIR = 0, kMindIR_Lite = 4 };

class MSTensor {
 public:
  MSTensor() = default;
  MSTensor(std::vector<int64_t> shape, enum DataType type = DataType::kNumberTypeFloat32)
      : type_(type), shape_(std::move(shape)), data_(std::make_shared<std::vector<float>>(ElementNum())) {}  // room for any

  enum DataType DataType() const { return type_; }
  const std::vector<int64_t> &Shape() const { return shape_; }
  int64_t ElementNum() const {
    int64_t count = 1;
    for (int64_t side : shape_) count *= side;
    return count < 0 ? 0 : count;
  }
  std::shared_ptr<const void> Data() const { return {data_, data_->data()}; }
  void *MutableData() { return data_->data(); }
  size_t DataSize() const { return data_->size() * (type_ == DataType::kNumberTypeBool ? 1 : sizeof(float)); }

 private:
  enum DataType type_ = DataType::kTypeUnknown;
  std::vector<int64_t> shape_;
  std::shared_ptr<std::vector<float>> data_;
};

}  // namespace mindspore
