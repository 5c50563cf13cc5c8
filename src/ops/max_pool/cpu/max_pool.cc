// Max pooling of float32 on the CPU, as `aot` entries of MindSpore's ops.Custom.
//
//   MaxPool:          form, x        -> out
//   MaxPoolGradient:  form, x, dout  -> gradient of x
//
// x is [B,C,H,W], out and dout [B,C,H',W']; form is int32 [3]: kernel, stride, margin. Window (i, j) begins at (i, j) * stride
// - margin, and counts for what of it lies in x, which is at least one value. The gradient of a window goes to its largest
// value, of equal ones to the first in reading order. MindSpore's operators run oneDNN's on plain layouts, value by value.
#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

struct Pool {
  int64_t planes, height, width, out_height, out_width, kernel, stride, margin;
  int64_t inside_start, inside_end;  // outputs of a row whose windows lie within the columns of x
};

namespace portable {
#include "max_pool_simd.h"
}  // namespace portable

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
#include "max_pool_simd.h"
}  // namespace avx2
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx2,fma")
namespace avx512 {
#include "max_pool_simd.h"
}  // namespace avx512
#pragma GCC pop_options
#endif

struct Kernels {
  void (*pool)(const Pool &, const float *, float *, float *);
  void (*gradient)(const Pool &, const float *, const float *, int32_t *, float *);
};

Kernels of_this_processor() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) return {avx512::pool_plane, avx512::gradient_plane};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return {avx2::pool_plane, avx2::gradient_plane};
#endif
  return {portable::pool_plane, portable::gradient_plane};
}

const Kernels kernels = of_this_processor();

// Fewer values are faster done by one thread.
constexpr int64_t kWorthThreads = 32768;

bool has_type(const char *actual, const char *wanted) { return strcmp(actual, wanted) == 0; }

// Of the arrays form, x and out.
bool read_pool(void **params, int *ndims, int64_t **shapes, const char **dtypes, int out, Pool *pool) {
  if (ndims[0] != 1 || shapes[0][0] != 3 || !has_type(dtypes[0], "int32")) return false;
  for (const int i : {1, out}) {
    if (ndims[i] != 4 || !has_type(dtypes[i], "float32")) return false;
  }
  const int32_t *form = static_cast<const int32_t *>(params[0]);
  const int64_t *from = shapes[1], *to = shapes[out];
  if (from[0] != to[0] || from[1] != to[1]) return false;
  *pool = {from[0] * from[1], from[2], from[3], to[2], to[3], form[0], form[1], form[2], 0, 0};
  if (pool->kernel < 1 || pool->stride < 1 || pool->margin < 0 || pool->margin >= pool->kernel) return false;
  // The last window begins within x.
  if ((to[2] - 1) * pool->stride - pool->margin >= from[2]) return false;
  if ((to[3] - 1) * pool->stride - pool->margin >= from[3]) return false;
  pool->inside_start = std::min((pool->margin + pool->stride - 1) / pool->stride, pool->out_width);
  const int64_t last = pool->width - pool->kernel + pool->margin;  // the last window within x begins no later
  const int64_t end = last < 0 ? 0 : last / pool->stride + 1;
  pool->inside_end = std::max(std::min(end, pool->out_width), pool->inside_start);
  return true;
}

}  // namespace

extern "C" int MaxPool(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  Pool pool;
  if (nparam != 3 || !read_pool(params, ndims, shapes, dtypes, 2, &pool)) return 1;
  const float *x = static_cast<const float *>(params[1]);
  float *out = static_cast<float *>(params[2]);
  const int64_t size = pool.height * pool.width, out_size = pool.out_height * pool.out_width;
#pragma omp parallel if (pool.planes * size > kWorthThreads)
  {
    std::vector<float> columns(pool.width);
#pragma omp for schedule(static)
    for (int64_t plane = 0; plane < pool.planes; plane++) {
      kernels.pool(pool, x + plane * size, columns.data(), out + plane * out_size);
    }
  }
  return 0;
}

extern "C" int MaxPoolGradient(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  Pool pool;
  if (nparam != 4 || !read_pool(params, ndims, shapes, dtypes, 2, &pool)) return 1;
  if (ndims[3] != 4 || !has_type(dtypes[3], "float32") || !std::equal(shapes[1], shapes[1] + 4, shapes[3])) return 1;
  const float *x = static_cast<const float *>(params[1]), *dout = static_cast<const float *>(params[2]);
  float *dx = static_cast<float *>(params[3]);
  const int64_t size = pool.height * pool.width, out_size = pool.out_height * pool.out_width;
#pragma omp parallel if (pool.planes * size > kWorthThreads)
  {
    std::vector<int32_t> places(pool.out_width);
#pragma omp for schedule(static)
    for (int64_t plane = 0; plane < pool.planes; plane++) {
      std::fill_n(dx + plane * size, size, 0.0f);
      kernels.gradient(pool, x + plane * size, dout + plane * out_size, places.data(), dx + plane * size);
    }
  }
  return 0;
}
