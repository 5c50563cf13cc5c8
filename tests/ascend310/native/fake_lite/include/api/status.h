#pragma once

#include <cstdint>
#include <string>

namespace mindspore {

enum StatusCode : uint32_t { kSuccess = 0, kCoreFailed = 1 };

class Status {
 public:
  Status(enum StatusCode code = kSuccess, const std::string &message = "") : code_(code), message_(message) {}
  std::string ToString() const { return message_; }
  bool operator==(enum StatusCode other) const { return code_ == other; }
  bool operator!=(enum StatusCode other) const { return code_ != other; }

 private:
  enum StatusCode code_;
  std::string message_;
};

}  // namespace mindspore
