#pragma once

#include <cstdint>
#include <memory>
#include <vector>

namespace mindspore {

class DeviceInfoContext {
 public:
  virtual ~DeviceInfoContext() = default;
};

class AscendDeviceInfo : public DeviceInfoContext {
 public:
  void SetDeviceID(uint32_t device_id) { device_id_ = device_id; }
  uint32_t GetDeviceID() const { return device_id_; }

 private:
  uint32_t device_id_ = 0;
};

class CPUDeviceInfo : public DeviceInfoContext {};

class Context {
 public:
  void SetThreadNum(int32_t threads) { threads_ = threads; }
  int32_t GetThreadNum() const { return threads_; }
  std::vector<std::shared_ptr<DeviceInfoContext>> &MutableDeviceInfo() { return devices_; }

 private:
  std::vector<std::shared_ptr<DeviceInfoContext>> devices_;
  int32_t threads_ = 0;
};

}  // namespace mindspore
