// Sums of two feature maps in float32 on the CPU, as `aot` entries of MindSpore's ops.Custom.
//
//   MapSum, MapSumRelu:              a, b -> out
//   MapSumGradient:                  dout, b -> gradient of b; that of a is dout
//   MapSumReluGradient:              dout, out, b -> gradients of a and b
//   ReluGradient:                    dout, out -> the gradient of a and of b, where they have one size
//   AttentionSum, AttentionSumRelu:  a, b -> out, attention
//   AttentionSumGradient:            dout, b, attention -> gradients of a and b
//   AttentionSumReluGradient:        dout, out, b, attention -> gradients of a and b
//
// a, out and dout are [B,C,H,W], b is [B,C,h,w], attention [B,C,1,1]. out = a + attention * repeated b, then ReLU. Each
// pixel of b is repeated to factor x factor pixels, by the smallest factor that fills a; what would reach beyond a is
// cut off. The attention is the sigmoid of the mean of a's channel, or 1. MindSpore's operators read and write maps for
// each step, and their sums over pixels go value by value.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

#include "../../arrays.h"

namespace {

struct Sizes {
  int64_t planes, height, width, rows, columns, factor;  // rows and columns of b
};

namespace portable {
#include "../../total_simd.h"
// after it
#include "map_sum_loops.h"
}  // namespace portable

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
#include "../../total_simd.h"
// after it
#include "map_sum_loops.h"
}  // namespace avx2
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx2,fma")
namespace avx512 {
#include "../../total_simd.h"
// after it
#include "map_sum_loops.h"
}  // namespace avx512
#pragma GCC pop_options
#endif

struct Kernels {
  decltype(&portable::sum_plane<false>) sum, sum_relu;
  decltype(&portable::attention_plane<false>) attention, attention_relu;
  decltype(&portable::relu_gradient) relu_gradient;
  decltype(&portable::block_sums) block_sums;
  decltype(&portable::attention_gradient) attention_gradient;
};

#define KERNELS_OF(set)                                                                                         \
  {set::sum_plane<false>, set::sum_plane<true>, set::attention_plane<false>, set::attention_plane<true>,       \
   set::relu_gradient,    set::block_sums,      set::attention_gradient}

Kernels of_this_processor() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return KERNELS_OF(avx512);
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return KERNELS_OF(avx2);
#endif
  return KERNELS_OF(portable);
}

const Kernels kernels = of_this_processor();

// Fewer values are faster done by one thread.
constexpr int64_t kWorthThreads = 131072;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The arrays of one call.
struct Call : Arrays {
  bool are_maps(int expected) const {
    if (count != expected) return false;
    for (int i = 0; i < count; i++) {
      if (!has(i, 4)) return false;
      if (std::any_of(shapes[i], shapes[i] + 4, [](int64_t side) { return side < 1; })) return false;
    }
    return true;
  }

  bool has_a_value_per_plane(int i, int map) const {
    return std::equal(shapes[i], shapes[i] + 2, shapes[map]) && shapes[i][2] == 1 && shapes[i][3] == 1;
  }

  // Of a map like a and one like b.
  bool read_sizes(int a, int b, Sizes *sizes) const {
    const int64_t *fine = shapes[a], *coarse = shapes[b];
    const int64_t factor = std::max(ceil_div(fine[2], coarse[2]), ceil_div(fine[3], coarse[3]));
    *sizes = {fine[0] * fine[1], fine[2], fine[3], coarse[2], coarse[3], factor};
    return std::equal(fine, fine + 2, coarse) && ceil_div(fine[2], factor) == coarse[2] &&
           ceil_div(fine[3], factor) == coarse[3];
  }
};

// Calls work(plane, its start in a, its start in b, scratch row) for each plane.
template <typename Work>
void for_planes(const Sizes &sizes, const Work &work) {
  const int64_t fine = sizes.height * sizes.width, coarse = sizes.rows * sizes.columns;
#pragma omp parallel if (sizes.planes * fine > kWorthThreads)
  {
    std::vector<float> row(sizes.columns * sizes.factor);
#pragma omp for schedule(static)
    for (int64_t plane = 0; plane < sizes.planes; plane++) work(plane, plane * fine, plane * coarse, row.data());
  }
}

int map_sum(const Call &arrays, decltype(Kernels::sum) kernel) {
  Sizes sizes;
  if (!arrays.are_maps(3) || !arrays.same(0, 2, 4) || !arrays.read_sizes(0, 1, &sizes)) return 1;
  const float *a = arrays.floats(0), *b = arrays.floats(1);
  float *out = arrays.floats(2);
  for_planes(sizes, [&](int64_t, int64_t fine, int64_t coarse, float *row) {
    kernel(sizes, a + fine, b + coarse, 1.0f, row, out + fine);
  });
  return 0;
}

int attention_sum(const Call &arrays, decltype(Kernels::attention) kernel) {
  Sizes sizes;
  if (!arrays.are_maps(4) || !arrays.same(0, 2, 4) || !arrays.has_a_value_per_plane(3, 0)) return 1;
  if (!arrays.read_sizes(0, 1, &sizes)) return 1;
  const float *a = arrays.floats(0), *b = arrays.floats(1);
  float *out = arrays.floats(2), *attention = arrays.floats(3);
  for_planes(sizes, [&](int64_t plane, int64_t fine, int64_t coarse, float *row) {
    attention[plane] = kernel(sizes, a + fine, b + coarse, row, out + fine);
  });
  return 0;
}

}  // namespace

extern "C" {

int MapSum(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  return map_sum({nparam, params, ndims, shapes, dtypes}, kernels.sum);
}

int MapSumRelu(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  return map_sum({nparam, params, ndims, shapes, dtypes}, kernels.sum_relu);
}

int AttentionSum(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  return attention_sum({nparam, params, ndims, shapes, dtypes}, kernels.attention);
}

int AttentionSumRelu(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  return attention_sum({nparam, params, ndims, shapes, dtypes}, kernels.attention_relu);
}

int ReluGradient(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  const Call arrays{nparam, params, ndims, shapes, dtypes};
  Sizes sizes;
  if (!arrays.are_maps(3) || !arrays.same(0, 1, 4) || !arrays.same(0, 2, 4) || !arrays.read_sizes(0, 1, &sizes)) return 1;
  const float *dout = arrays.floats(0), *out = arrays.floats(1);
  float *d = arrays.floats(2);
  for_planes(sizes, [&](int64_t, int64_t start, int64_t, float *) {
    kernels.relu_gradient(dout + start, out + start, sizes.height * sizes.width, d + start);
  });
  return 0;
}

int MapSumGradient(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  const Call arrays{nparam, params, ndims, shapes, dtypes};
  Sizes sizes;
  if (!arrays.are_maps(3) || !arrays.same(1, 2, 4) || !arrays.read_sizes(0, 1, &sizes)) return 1;
  const float *dout = arrays.floats(0);
  float *db = arrays.floats(2);
  for_planes(sizes, [&](int64_t, int64_t fine, int64_t coarse, float *row) {
    kernels.block_sums(sizes, dout + fine, row, db + coarse);
  });
  return 0;
}

int MapSumReluGradient(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  const Call arrays{nparam, params, ndims, shapes, dtypes};
  Sizes sizes;
  if (!arrays.are_maps(5) || !arrays.same(0, 1, 4) || !arrays.same(0, 3, 4) || !arrays.same(2, 4, 4)) return 1;
  if (!arrays.read_sizes(0, 2, &sizes)) return 1;
  const float *dout = arrays.floats(0), *out = arrays.floats(1);
  float *da = arrays.floats(3), *db = arrays.floats(4);
  for_planes(sizes, [&](int64_t, int64_t fine, int64_t coarse, float *row) {
    kernels.relu_gradient(dout + fine, out + fine, sizes.height * sizes.width, da + fine);
    kernels.block_sums(sizes, da + fine, row, db + coarse);
  });
  return 0;
}

int AttentionSumGradient(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  const Call arrays{nparam, params, ndims, shapes, dtypes};
  Sizes sizes;
  if (!arrays.are_maps(5) || !arrays.has_a_value_per_plane(2, 0) || !arrays.same(0, 3, 4) || !arrays.same(1, 4, 4)) return 1;
  if (!arrays.read_sizes(0, 1, &sizes)) return 1;
  const float *dout = arrays.floats(0), *b = arrays.floats(1), *attention = arrays.floats(2);
  float *da = arrays.floats(3), *db = arrays.floats(4);
  for_planes(sizes, [&](int64_t plane, int64_t fine, int64_t coarse, float *row) {
    kernels.attention_gradient(sizes, dout + fine, b + coarse, attention[plane], row, da + fine, db + coarse);
  });
  return 0;
}

int AttentionSumReluGradient(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *,
                             void *) {
  const Call arrays{nparam, params, ndims, shapes, dtypes};
  Sizes sizes;
  if (!arrays.are_maps(6) || !arrays.same(0, 1, 4) || !arrays.has_a_value_per_plane(3, 0)) return 1;
  if (!arrays.same(0, 4, 4) || !arrays.same(2, 5, 4) || !arrays.read_sizes(0, 2, &sizes)) return 1;
  const float *dout = arrays.floats(0), *out = arrays.floats(1), *b = arrays.floats(2), *attention = arrays.floats(3);
  float *da = arrays.floats(4), *db = arrays.floats(5);
  for_planes(sizes, [&](int64_t plane, int64_t fine, int64_t coarse, float *row) {
    kernels.relu_gradient(dout + fine, out + fine, sizes.height * sizes.width, da + fine);
    kernels.attention_gradient(sizes, da + fine, b + coarse, attention[plane], row, da + fine, db + coarse);
  });
  return 0;
}

}  // extern "C"
