// Convolution of float32 on the CPU, as `aot` entries of MindSpore's ops.Custom.
//
//   Conv2d:                x, weight              -> out
//   Conv2dInputGradient:   dout, weight, x        -> gradient of x (of which only the shape counts)
//   Conv2dWeightGradient:  x, dout, weight        -> gradient of weight (of which only the shape counts)
//   Dense, DenseInputGradient, DenseWeightGradient: the same of fully connected layers
//
// x is [B,in,H,W], weight [out,in,kh,kw] with odd kernels, out and dout [B,out,ceil(H/stride),ceil(W/stride)]; the padding
// is half the kernel, the stride 1 or 2. Of fully connected layers x is [N,in], weight [out,in], out [N,out].
// MindSpore hands plain layouts to oneDNN, whose fast kernels want blocked ones. 3x3 kernels of stride 1 are computed by
// Winograd's filtering where that is faster (winograd_simd.h); CUSTOM_CONV=direct in the environment keeps to products with
// matrices of patches.
#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

struct Convolution {
  int64_t batch, in, out;
  int height, width, kernel_height, kernel_width, out_height, out_width, stride;
};

#if defined(__x86_64__)

// Matrices with more values are packed by all threads.
constexpr int64_t kWorthThreads = 32768;

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Memory that lives on, since pages from the system cost more than small convolutions.
class Buffer {
 public:
  Buffer() = default;
  Buffer(const Buffer &) = delete;
  ~Buffer() { std::free(data_); }

  float *get(int64_t floats) {
    if (floats > size_) {
      std::free(data_);
      size_ = ceil_div(floats, 16) * 16;
      data_ = static_cast<float *>(std::aligned_alloc(64, size_ * sizeof(float)));
      if (!data_) std::abort();
    }
    return data_;
  }

 private:
  float *data_ = nullptr;
  int64_t size_ = 0;
};

Buffer &weight_buffer() {
  static thread_local Buffer buffer;
  return buffer;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"  // of GCC 12's own intrinsics
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
#include "transpose8.h"
#include "vector_avx2.h"
// after the vectors
#include "matrix_simd.h"
#include "patches_simd.h"
// after both
#include "convolution_simd.h"
// after all of them
#include "winograd_simd.h"
}  // namespace avx2
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx2,fma")
namespace avx512 {
#include "transpose8.h"
#include "vector_avx512.h"
// after the vectors
#include "matrix_simd.h"
#include "patches_simd.h"
// after both
#include "convolution_simd.h"
// after all of them
#include "winograd_simd.h"
}  // namespace avx512
#pragma GCC pop_options
#pragma GCC diagnostic pop

#endif

using Kernel = void (*)(const Convolution &, const float *, const float *, float *);

// Those of this processor; null where there are none. Convolutions have kernels of their own, which take what matrix
// products do faster to these.
struct Kernels {
  Kernel forward = nullptr, input_gradient = nullptr, weight_gradient = nullptr;
  Kernel convolve = nullptr, convolve_input_gradient = nullptr, convolve_weight_gradient = nullptr;

  Kernels() {
#if defined(__x86_64__)
    const char *chosen = std::getenv("CUSTOM_CONV");
    const bool direct = chosen && std::strcmp(chosen, "direct") == 0;
    if (__builtin_cpu_supports("avx512f")) {
      forward = avx512::forward;
      input_gradient = avx512::input_gradient;
      weight_gradient = avx512::weight_gradient;
      convolve = direct ? forward : avx512::winograd_forward;
      convolve_input_gradient = direct ? input_gradient : avx512::winograd_input_gradient;
      convolve_weight_gradient = direct ? weight_gradient : avx512::winograd_weight_gradient;
    } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
      forward = avx2::forward;
      input_gradient = avx2::input_gradient;
      weight_gradient = avx2::weight_gradient;
      convolve = direct ? forward : avx2::winograd_forward;
      convolve_input_gradient = direct ? input_gradient : avx2::winograd_input_gradient;
      convolve_weight_gradient = direct ? weight_gradient : avx2::winograd_weight_gradient;
    }
#endif
  }
};

const Kernels kernels;

// The arrays of one call.
struct Call {
  int count;
  void **params;
  const int *ndims;
  int64_t **shapes;
  const char **dtypes;

  bool fits(int wanted, int dimensions) const {
    if (count != wanted || !kernels.forward) return false;
    for (int i = 0; i < count; i++) {
      if (ndims[i] != dimensions || strcmp(dtypes[i], "float32") != 0) return false;
      for (int d = 0; d < dimensions; d++) {
        if (shapes[i][d] < 1) return false;
      }
    }
    return true;
  }

  // Of arrays x, weight and out.
  bool read_convolution(int x, int weight, int out, Convolution *c) const {
    const int64_t *from = shapes[x], *kernel = shapes[weight], *to = shapes[out];
    if (kernel[2] % 2 == 0 || kernel[3] % 2 == 0 || from[0] != to[0] || from[1] != kernel[1] || to[1] != kernel[0]) return false;
    if (from[2] * from[3] > INT32_MAX) return false;
    const auto has_stride = [&](int64_t s) { return to[2] == (from[2] + s - 1) / s && to[3] == (from[3] + s - 1) / s; };
    if (!has_stride(1) && !has_stride(2)) return false;
    *c = {from[0], from[1], to[1], static_cast<int>(from[2]), static_cast<int>(from[3]), static_cast<int>(kernel[2]),
          static_cast<int>(kernel[3]), static_cast<int>(to[2]), static_cast<int>(to[3]), has_stride(1) ? 1 : 2};
    return true;
  }

  // A product of matrices as a 1x1 convolution: rows `out` times depth `in` times columns `pixels`.
  bool matrix(int64_t out, int64_t in, int64_t pixels, Convolution *c) const {
    if (pixels > INT32_MAX) return false;
    *c = {1, in, out, 1, static_cast<int>(pixels), 1, 1, 1, static_cast<int>(pixels), 1};
    return true;
  }

  // Of arrays x, weight and out of a fully connected layer.
  bool fits_dense(int x, int weight, int out) const {
    return shapes[x][0] == shapes[out][0] && shapes[x][1] == shapes[weight][1] && shapes[weight][0] == shapes[out][1];
  }

  int run(Kernel kernel, const Convolution &c, int first, int second) const {
    kernel(c, static_cast<const float *>(params[first]), static_cast<const float *>(params[second]),
           static_cast<float *>(params[count - 1]));
    return 0;
  }
};

}  // namespace

// Whether this processor has the vectors.
extern "C" int ConvolutionSupported() { return kernels.forward != nullptr; }

extern "C" int Conv2d(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  const Call call{nparam, params, ndims, shapes, dtypes};
  Convolution c;
  if (!call.fits(3, 4) || !call.read_convolution(0, 1, 2, &c)) return 1;
  return call.run(kernels.convolve, c, 0, 1);
}

extern "C" int Conv2dInputGradient(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *,
                                   void *) {
  const Call call{nparam, params, ndims, shapes, dtypes};
  Convolution c;
  if (!call.fits(4, 4) || !call.read_convolution(3, 1, 0, &c)) return 1;
  return call.run(kernels.convolve_input_gradient, c, 0, 1);
}

extern "C" int Conv2dWeightGradient(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *,
                                    void *) {
  const Call call{nparam, params, ndims, shapes, dtypes};
  Convolution c;
  if (!call.fits(4, 4) || !call.read_convolution(0, 3, 1, &c)) return 1;
  return call.run(kernels.convolve_weight_gradient, c, 0, 1);
}

// out [N,out] = x [N,in] times weight [out,in] transposed: both run along the depth, as in the gradient of weights.
extern "C" int Dense(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  const Call call{nparam, params, ndims, shapes, dtypes};
  Convolution c;
  if (!call.fits(3, 2) || !call.fits_dense(0, 1, 2)) return 1;
  if (!call.matrix(shapes[0][0], shapes[1][0], shapes[1][1], &c)) return 1;
  return call.run(kernels.weight_gradient, c, 1, 0);
}

// dx [N,in] = dout [N,out] times weight [out,in].
extern "C" int DenseInputGradient(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *,
                                  void *) {
  const Call call{nparam, params, ndims, shapes, dtypes};
  Convolution c;
  if (!call.fits(3, 2) || !call.fits_dense(2, 1, 0)) return 1;
  if (!call.matrix(shapes[0][0], shapes[1][0], shapes[1][1], &c)) return 1;
  return call.run(kernels.forward, c, 1, 0);
}

// dweight [out,in] = dout [N,out] transposed times x [N,in].
extern "C" int DenseWeightGradient(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *,
                                   void *) {
  const Call call{nparam, params, ndims, shapes, dtypes};
  Convolution c;
  if (!call.fits(3, 2) || !call.fits_dense(0, 2, 1)) return 1;
  if (!call.matrix(shapes[0][0], shapes[1][1], shapes[0][1], &c)) return 1;
  return call.run(kernels.input_gradient, c, 0, 1);
}
