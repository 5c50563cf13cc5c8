// Numbers for tests: the same for each seed, in thousandths from -1 to 1.
#pragma once

#include <cstdint>
#include <vector>

using Values = std::vector<float>;

inline Values random_values(int64_t count, uint32_t seed) {
  Values values(count);
  for (float &value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(static_cast<int>(seed >> 9) % 2001 - 1000) / 1000.0f;
  }
  return values;
}
