// The few lines that the unit tests need of a test framework.
#pragma once

#include <cstdio>
#include <string>

inline int failures = 0;

#define CHECK(condition)                                                    \
  do {                                                                      \
    if (!(condition)) {                                                     \
      failures++;                                                           \
      std::printf("%s:%d: not true: %s\n", __FILE__, __LINE__, #condition); \
    }                                                                       \
  } while (false)

// What a call says when it fails; "" when it does not, or fails with another exception.
template <class Exception, class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Exception &error) {
    return error.what();
  } catch (...) {
  }
  return "";
}

inline bool contains(const std::string &text, const std::string &part) { return text.find(part) != std::string::npos; }
