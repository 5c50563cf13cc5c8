// What MindSpore hands to an `aot` entry.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

struct Arrays {
  int count;
  void **params;
  int *ndims;
  int64_t **shapes;
  const char **dtypes;

  float *floats(int i) const { return static_cast<float *>(params[i]); }
  int32_t *integers(int i) const { return static_cast<int32_t *>(params[i]); }

  bool has(int i, int dimensions, const char *type = "float32") const {
    return ndims[i] == dimensions && std::strcmp(dtypes[i], type) == 0;
  }
  // Whether the first dimensions of two arrays agree.
  bool same(int i, int j, int dimensions) const { return std::equal(shapes[i], shapes[i] + dimensions, shapes[j]); }
};
