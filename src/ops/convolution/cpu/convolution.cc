// Convolution of float32 on the CPU, as `aot` entries of MindSpore's ops.Custom.
//
//   Conv2d, Conv2dRelu:    x, weight, [bias], [gamma, beta, mean, variance, settings], [shortcut], [present]  -> out
//   Conv2dInputGradient:   dout, weight, x, [present]  -> gradient of x (of which only the shape counts)
//   Conv2dWeightGradient:  x, dout, weight, [present]  -> gradient of weight (of which only the shape counts)
//   ReluBiasGradient:      dout, out, bias, [present]  -> dout where out is positive, gradient of bias
//   BiasGradient:          dout, bias, [present]       -> gradient of bias (of which only the shape counts)
//   Dense, DenseInputGradient, DenseWeightGradient: x, weight -> out of fully connected layers, and its gradients
//
// x is [B,in,H,W], weight [out,in,kh,kw] with odd kernels, out, dout and shortcut [B,out,ceil(H/stride),ceil(W/stride)]; the
// padding is half the kernel, the stride 1 or 2. What follows the sums is done in the same pass: bias, normalization by
// stored statistics (five arrays as in batch_norm.cc), a shortcut's sum, ReLU. Of a batch only the first `present` images,
// int32, are computed: the others of `out` and of the gradient of x are zero, those of dout are not read.
// Of fully connected layers x is [N,in], weight [out,in], out [N,out].
// MindSpore hands plain layouts to oneDNN, whose fast kernels want blocked ones. 3x3 kernels of stride 1 are computed by
// Winograd's filtering where that is faster (winograd_simd.h); CUSTOM_CONV=direct in the environment keeps to products with
// matrices of patches.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "../../arrays.h"

namespace {

struct Convolution {
  int64_t batch, in, out;
  int height, width, kernel_height, kernel_width, out_height, out_width, stride;
};

// Arrays with more values are worth several threads.
constexpr int64_t kWorthThreads = 32768;

// What follows the sums of a convolution: [ReLU of] scale * sum + shift of each output channel; what is null is left out.
struct Epilogue {
  const float *scale = nullptr, *shift = nullptr;
  bool relu = false;

  bool any() const { return scale || shift || relu; }

  // That of the channels from here on.
  Epilogue from(int64_t channel) const {
    return {scale ? scale + channel : nullptr, shift ? shift + channel : nullptr, relu};
  }
};

#if defined(__x86_64__)

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
#include "../../total_simd.h"
#include "transpose8.h"
#include "vector_avx2.h"
// after the vectors
#include "epilogue_simd.h"
#include "matrix_simd.h"
#include "patches_simd.h"
// after these
#include "convolution_simd.h"
// after all of them
#include "winograd_simd.h"
}  // namespace avx2
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx2,fma")
namespace avx512 {
#include "../../total_simd.h"
#include "transpose8.h"
#include "vector_avx512.h"
// after the vectors
#include "epilogue_simd.h"
#include "matrix_simd.h"
#include "patches_simd.h"
// after these
#include "convolution_simd.h"
// after all of them
#include "winograd_simd.h"
}  // namespace avx512
#pragma GCC pop_options
#pragma GCC diagnostic pop

#endif

using Forward = void (*)(const Convolution &, const float *, const float *, const Epilogue &, float *);
using Gradient = void (*)(const Convolution &, const float *, const float *, float *);
using BiasGradient = void (*)(const Convolution &, const float *, const float *, float *, float *);

// Those of this processor; null where there are none. Convolutions have kernels of their own, which take what matrix
// products do faster to these.
struct Kernels {
  Forward forward = nullptr, convolve = nullptr;
  Gradient input_gradient = nullptr, weight_gradient = nullptr;
  Gradient convolve_input_gradient = nullptr, convolve_weight_gradient = nullptr;
  BiasGradient bias_gradient = nullptr;

  Kernels() {
#if defined(__x86_64__)
    const char *chosen = std::getenv("CUSTOM_CONV");
    const bool direct = chosen && std::strcmp(chosen, "direct") == 0;
    if (__builtin_cpu_supports("avx512f")) {
      forward = avx512::forward;
      input_gradient = avx512::input_gradient;
      weight_gradient = avx512::weight_gradient;
      bias_gradient = avx512::bias_gradient;
      convolve = direct ? forward : avx512::winograd_forward;
      convolve_input_gradient = direct ? input_gradient : avx512::winograd_input_gradient;
      convolve_weight_gradient = direct ? weight_gradient : avx512::winograd_weight_gradient;
    } else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
      forward = avx2::forward;
      input_gradient = avx2::input_gradient;
      weight_gradient = avx2::weight_gradient;
      bias_gradient = avx2::bias_gradient;
      convolve = direct ? forward : avx2::winograd_forward;
      convolve_input_gradient = direct ? input_gradient : avx2::winograd_input_gradient;
      convolve_weight_gradient = direct ? weight_gradient : avx2::winograd_weight_gradient;
    }
#endif
  }
};

const Kernels kernels;

// The arrays of one call.
struct Call : Arrays {
  // Whether array i is of float32, of so many dimensions and not empty.
  bool has(int i, int dimensions) const {
    if (i < 0 || i >= count || !Arrays::has(i, dimensions)) return false;
    return std::all_of(shapes[i], shapes[i] + dimensions, [](int64_t side) { return side > 0; });
  }

  bool fits(int wanted, int dimensions) const {
    if (count != wanted || !kernels.forward) return false;
    for (int i = 0; i < count; i++) {
      if (!has(i, dimensions)) return false;
    }
    return true;
  }

  bool is_count(int i) const { return std::strcmp(dtypes[i], "int32") == 0; }

  // How many of the images are there by array i; all where it is no count.
  int64_t present(int i, int64_t images) const {
    return is_count(i) ? std::clamp<int64_t>(*static_cast<const int32_t *>(params[i]), 0, images) : images;
  }

  // Of the arrays from 2 to the last but one, and of `present` the number of images.
  bool read_epilogue(Convolution *c, Epilogue *epilogue, const float **shortcut, std::vector<float> *buffer) const {
    int end = count - 1, at = 2;
    const int64_t channels = c->out;
    c->batch = present(end - 1, c->batch);
    if (is_count(end - 1)) end--;
    if (end > at && ndims[end - 1] == 4) {
      if (!has(--end, 4) || !std::equal(shapes[end], shapes[end] + 4, shapes[count - 1])) return false;
      *shortcut = floats(end);
    }
    const int vectors = end - at;
    if (vectors == 0) return true;
    if (vectors != 1 && vectors != 5 && vectors != 6) return false;
    for (int i = at; i < end; i++) {
      const bool settings = vectors > 1 && i == end - 1;
      if (!has(i, 1) || shapes[i][0] != (settings ? 2 : channels)) return false;
    }
    const float *bias = vectors == 1 || vectors == 6 ? floats(at++) : nullptr;
    if (vectors == 1) {
      epilogue->shift = bias;
      return true;
    }
    const float *gamma = floats(at), *beta = floats(at + 1), *mean = floats(at + 2), *variance = floats(at + 3);
    const float epsilon = floats(at + 4)[0];
    buffer->resize(2 * channels);
    float *scale = buffer->data(), *shift = scale + channels;
    for (int64_t i = 0; i < channels; i++) {
      const double factor = gamma[i] / std::sqrt(static_cast<double>(variance[i]) + epsilon);
      scale[i] = static_cast<float>(factor);
      shift[i] = static_cast<float>(beta[i] + factor * ((bias ? bias[i] : 0.0f) - static_cast<double>(mean[i])));
    }
    epilogue->scale = scale;
    epilogue->shift = shift;
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

  int run(Gradient kernel, const Convolution &c, int first, int second) const {
    kernel(c, floats(first), floats(second), floats(count - 1));
    return 0;
  }

  int convolve(bool relu) const {
    Convolution c;
    Epilogue epilogue;
    const float *shortcut = nullptr;
    std::vector<float> buffer;
    if (count < 3 || !kernels.forward || !has(0, 4) || !has(1, 4) || !has(count - 1, 4)) return 1;
    if (!read_convolution(0, 1, count - 1, &c) || !read_epilogue(&c, &epilogue, &shortcut, &buffer)) return 1;
    epilogue.relu = relu && !shortcut;
    if (c.batch > 0) kernels.convolve(c, floats(0), floats(1), epilogue, floats(count - 1));
    if (shortcut) add_shortcut(shortcut, relu, c.batch * c.out * c.out_height * c.out_width);
    clear_images(c.batch);
    return 0;
  }

  // In a pass of its own: tiles would read it in pieces too short for the processor to fetch them ahead.
  void add_shortcut(const float *shortcut, bool relu, int64_t values) const {
    float *out = floats(count - 1);
#pragma omp parallel for simd schedule(static) if (parallel : values > kWorthThreads)
    for (int64_t i = 0; i < values; i++) {
      const float sum = out[i] + shortcut[i];
      out[i] = relu && sum < 0.0f ? 0.0f : sum;
    }
  }

  // Images of the last array from this one on become zeros.
  void clear_images(int64_t first) const {
    const int64_t *shape = shapes[count - 1], size = shape[1] * shape[2] * shape[3];
#pragma omp parallel for schedule(static) if ((shape[0] - first) * size > kWorthThreads)
    for (int64_t image = first; image < shape[0]; image++) {
      std::memset(floats(count - 1) + image * size, 0, sizeof(float) * size);
    }
  }

  // Gradient of a bias, array `like`, and where `out` is given dout where out is positive.
  int bias_gradient(const float *out, int like, float *masked) const {
    if (!kernels.forward || !has(count - 1, 1) || shapes[like][0] != shapes[0][1]) return 1;
    const int64_t *shape = shapes[0];
    Convolution c{};
    c.batch = present(like + 1, shape[0]);
    c.out = shape[1];
    c.height = c.out_height = static_cast<int>(shape[2]);
    c.width = c.out_width = static_cast<int>(shape[3]);
    kernels.bias_gradient(c, floats(0), out, masked, floats(count - 1));
    return 0;
  }

  // A gradient of three arrays, perhaps `present`, and the result.
  bool fits_gradient() const {
    return kernels.forward && (count == 4 || (count == 5 && is_count(3))) && has(0, 4) && has(1, 4) && has(2, 4) && has(count - 1, 4);
  }
};

}  // namespace

// Whether this processor has the vectors.
extern "C" int ConvolutionSupported() { return kernels.forward != nullptr; }

extern "C" int Conv2d(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  return Call{nparam, params, ndims, shapes, dtypes}.convolve(false);
}

extern "C" int Conv2dRelu(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  return Call{nparam, params, ndims, shapes, dtypes}.convolve(true);
}

extern "C" int Conv2dInputGradient(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *,
                                   void *) {
  const Call call{nparam, params, ndims, shapes, dtypes};
  Convolution c;
  if (!call.fits_gradient() || !call.read_convolution(2, 1, 0, &c)) return 1;
  c.batch = call.present(nparam - 2, c.batch);
  if (c.batch > 0) call.run(kernels.convolve_input_gradient, c, 0, 1);
  call.clear_images(c.batch);
  return 0;
}

extern "C" int Conv2dWeightGradient(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *,
                                    void *) {
  const Call call{nparam, params, ndims, shapes, dtypes};
  Convolution c;
  if (!call.fits_gradient() || !call.read_convolution(0, 2, 1, &c)) return 1;
  c.batch = call.present(nparam - 2, c.batch);
  if (c.batch > 0) return call.run(kernels.convolve_weight_gradient, c, 0, 1);
  call.clear_images(0);
  return 0;
}

extern "C" int ReluBiasGradient(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *,
                                void *) {
  const Call call{nparam, params, ndims, shapes, dtypes};
  if (nparam < 5 || nparam > 6 || !call.has(0, 4) || !call.has(1, 4) || !call.has(2, 1)) return 1;
  return call.bias_gradient(call.floats(1), 2, call.floats(nparam - 2));
}

extern "C" int BiasGradient(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  const Call call{nparam, params, ndims, shapes, dtypes};
  if (nparam < 3 || nparam > 4 || !call.has(0, 4) || !call.has(1, 1)) return 1;
  return call.bias_gradient(nullptr, 1, nullptr);
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
  kernels.forward(c, call.floats(1), call.floats(0), {}, call.floats(2));
  return 0;
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
