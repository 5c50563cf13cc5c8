// Batch normalization of float32 on the CPU, as `aot` entries of MindSpore's ops.Custom.
//
// By the batch's statistics:
//   BatchNorm:          x, gamma, beta, running mean, running variance, settings
//                       -> out, mean, 1 / standard deviation, new running mean, new running variance
//   BatchNormGradient:  dout, x, gamma, mean, 1 / standard deviation -> gradients of x, gamma and beta
// By stored statistics:
//   StoredBatchNorm:                   x, gamma, beta, mean, variance, settings -> out
//   StoredBatchNormInputGradient:      dout, gamma, variance, settings -> gradient of x
//   StoredBatchNormParameterGradient:  dout, x, mean, variance, settings -> gradients of gamma and beta
//
// x, dout and out are [B,C,H,W], settings holds epsilon and the new batch's share in the running statistics, all else is
// [C]. The running variance is the unbiased one. Threads take channels, so that no sum depends on their number.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

// Arrays with more values are worth several threads.
constexpr int64_t kWorthThreads = 32768;

struct Maps {
  int64_t batch, channels, pixels;

  int64_t start(int64_t image, int64_t channel) const { return (image * channels + channel) * pixels; }
  bool worth_threads() const { return batch * channels * pixels > kWorthThreads; }
};

struct Layer {
  const float *gamma, *beta, *mean, *variance;
};

struct Running {
  float *mean, *variance;
};

struct Settings {
  float epsilon, share;

  double inverse(double variance) const { return 1.0 / std::sqrt(variance + epsilon); }
  float mixed(double old, double found) const { return static_cast<float>(old + share * (found - old)); }
};

// Number, mean and sum of squares around the mean, which those of further values are added to (Chan, Golub and LeVeque,
// 1979).
struct Moments {
  double count = 0.0, mean = 0.0, squares = 0.0;

  void add(double more, double their_mean, double their_squares) {
    const double total = count + more, step = their_mean - mean;
    mean += step * more / total;
    squares += their_squares + step * step * count * more / total;
    count = total;
  }
};

namespace portable {
#include "batch_norm_loops.h"
}  // namespace portable
#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
#include "batch_norm_loops.h"
}  // namespace avx2
#pragma GCC pop_options
#endif

// Those for this processor. Wider vectors than AVX2's gain nothing: the loops wait for the memory.
struct Kernels {
  decltype(&portable::forward) forward = portable::forward;
  decltype(&portable::backward) backward = portable::backward;
  decltype(&portable::stored_forward) stored_forward = portable::stored_forward;
  decltype(&portable::stored_input_gradient) stored_input_gradient = portable::stored_input_gradient;
  decltype(&portable::stored_parameter_gradient) stored_parameter_gradient = portable::stored_parameter_gradient;

  Kernels() {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
      forward = avx2::forward;
      backward = avx2::backward;
      stored_forward = avx2::stored_forward;
      stored_input_gradient = avx2::stored_input_gradient;
      stored_parameter_gradient = avx2::stored_parameter_gradient;
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

  // Whether they have these kinds: m for maps like the first array, c for one value per channel, s for settings.
  bool fits(const char *kinds) const {
    if (count != static_cast<int>(std::strlen(kinds)) || ndims[0] != 4) return false;
    if (std::any_of(shapes[0], shapes[0] + 4, [](int64_t size) { return size < 1; })) return false;
    const int64_t settings = 2;
    for (int i = 0; i < count; i++) {
      const bool maps = kinds[i] == 'm';
      const int64_t *wanted = maps ? shapes[0] : kinds[i] == 'c' ? shapes[0] + 1 : &settings;
      if (ndims[i] != (maps ? 4 : 1) || std::strcmp(dtypes[i], "float32") != 0) return false;
      if (!std::equal(wanted, wanted + ndims[i], shapes[i])) return false;
    }
    return true;
  }

  Maps maps() const { return {shapes[0][0], shapes[0][1], shapes[0][2] * shapes[0][3]}; }
  float *array(int index) const { return static_cast<float *>(params[index]); }
  Layer layer(int first) const { return {array(first), array(first + 1), array(first + 2), array(first + 3)}; }
  Settings settings(int index) const { return {array(index)[0], array(index)[1]}; }
};

}  // namespace

extern "C" int BatchNorm(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  const Call a{nparam, params, ndims, shapes, dtypes};
  if (!a.fits("mccccsmcccc")) return 1;
  kernels.forward(a.maps(), a.layer(1), a.array(0), a.settings(5), a.array(6), a.array(7), a.array(8),
                  {a.array(9), a.array(10)});
  return 0;
}

extern "C" int BatchNormGradient(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *,
                                 void *) {
  const Call a{nparam, params, ndims, shapes, dtypes};
  if (!a.fits("mmcccmcc")) return 1;
  kernels.backward(a.maps(), a.array(0), a.array(1), a.array(2), a.array(3), a.array(4), a.array(5), a.array(6), a.array(7));
  return 0;
}

extern "C" int StoredBatchNorm(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *,
                               void *) {
  const Call a{nparam, params, ndims, shapes, dtypes};
  if (!a.fits("mccccsm")) return 1;
  kernels.stored_forward(a.maps(), a.layer(1), a.array(0), a.settings(5), a.array(6));
  return 0;
}

extern "C" int StoredBatchNormInputGradient(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes,
                                            void *, void *) {
  const Call a{nparam, params, ndims, shapes, dtypes};
  if (!a.fits("mccsm")) return 1;
  kernels.stored_input_gradient(a.maps(), a.array(0), a.array(1), a.array(2), a.settings(3), a.array(4));
  return 0;
}

extern "C" int StoredBatchNormParameterGradient(int nparam, void **params, int *ndims, int64_t **shapes,
                                                const char **dtypes, void *, void *) {
  const Call a{nparam, params, ndims, shapes, dtypes};
  if (!a.fits("mmccscc")) return 1;
  kernels.stored_parameter_gradient(a.maps(), a.array(0), a.array(1), a.array(2), a.array(3), a.settings(4), a.array(5),
                                    a.array(6));
  return 0;
}
