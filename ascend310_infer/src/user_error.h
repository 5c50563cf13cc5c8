// The one exception for a user's mistakes.
#pragma once

#include <stdexcept>

// One line: what is wrong, where, and what would be right. The program prints it and ends with exit code 2.
class UserError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};
