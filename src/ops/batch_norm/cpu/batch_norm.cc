// Batch normalization of float32 on the CPU, as `aot` entries of MindSpore's ops.Custom.
//
// By the batch's statistics:
//   BatchNorm:          x, gamma, beta, running mean, running variance, settings
//                       -> out, mean, 1 / standard deviation, shift, new running mean, new running variance
//   BatchNormGradient:  dout, x, gamma, mean, 1 / standard deviation -> gradients of x, gamma and beta
// By stored statistics:
//   StoredBatchNorm:                   x, gamma, beta, mean, variance, settings -> out
//   StoredBatchNormInputGradient:      dout, gamma, variance, settings -> gradient of x
//   StoredBatchNormParameterGradient:  dout, x, mean, variance, settings -> gradients of gamma and beta
// With ReLU after them:
//   BatchNormRelu, StoredBatchNormRelu:    as above
//   BatchNormReluGradient:                 as above with the shift as last input
//   StoredBatchNormReluInputGradient:      as above with out as last input
//   StoredBatchNormReluParameterGradient:  dout, x, gamma, beta, mean, variance, settings -> gradients of both
// With a shortcut's sum and ReLU after them; for the rest the shortcut's gradient serves as dout of the first kind:
//   BatchNormAddRelu, StoredBatchNormAddRelu:  as above with the shortcut as last input
//   BatchNormAddReluGradient, StoredBatchNormAddReluInputGradient:
//                                              as above with out as last input, the shortcut's gradient as last result
//
// x, shortcut, dout and out are [B,C,H,W], settings holds epsilon and the new batch's share in the running statistics,
// all else is [C]. The running variance is the unbiased one. Threads take channels, so that no sum depends on their number.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "../../arrays.h"

namespace {

// Arrays with more values are worth several threads.
constexpr int64_t kWorthThreads = 32768;

struct Maps {
  int64_t batch, channels, pixels;

  int64_t start(int64_t image, int64_t channel) const { return (image * channels + channel) * pixels; }
  bool worth_threads() const { return batch * channels * pixels > kWorthThreads; }
};

struct Settings {
  float epsilon, share;

  double inverse(double variance) const { return 1.0 / std::sqrt(variance + epsilon); }
  float mixed(double old, double found) const { return static_cast<float>(old + share * (found - old)); }
};

// How the values of a channel are normalized.
struct Scaling {
  float center = 0.0f, factor = 1.0f, shift = 0.0f;

  // `center` is float32: what the mean has beyond that goes to the shift.
  static Scaling around(double mean, double scale, double beta) {
    const float center = static_cast<float>(mean);
    return {center, static_cast<float>(scale), static_cast<float>(beta - (mean - center) * scale)};
  }
  float of(float value) const { return (value - center) * factor + shift; }
};

struct Layer {
  const float *gamma, *beta, *mean, *variance;

  Scaling scaling(int64_t c, const Settings &settings) const {
    return Scaling::around(mean[c], gamma[c] * settings.inverse(variance[c]), beta[c]);
  }
};

struct Running {
  float *mean, *variance;
};

// Whether ReLU follows, and the shortcut that is added before it, or null.
struct Rectifier {
  bool follows;
  const float *shortcut;
};

// What reaches the normalization: dout, or with ReLU after it what of dout is beside positive values. `positive` is
// ReLU's output; or x, which is read anyway, and from which a `Scaling` computes those values again. A shortcut has the
// same gradient, which is written to `dshortcut`.
struct Gradient {
  const float *dout, *positive = nullptr;
  float *dshortcut = nullptr;
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
struct Call : Arrays {
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
  Layer layer(int first) const { return {floats(first), floats(first + 1), floats(first + 2), floats(first + 3)}; }
  Settings settings(int index) const { return {floats(index)[0], floats(index)[1]}; }
};

// What follows a normalization.
enum class After { kNothing, kRelu, kAddRelu };

int normalize(const Call &a, After after) {
  const bool add = after == After::kAddRelu;
  if (!a.fits(add ? "mccccsmmccccc" : "mccccsmccccc")) return 1;
  const Rectifier rectifier{after != After::kNothing, add ? a.floats(6) : nullptr};
  const int out = add ? 7 : 6;
  kernels.forward(a.maps(), a.layer(1), a.floats(0), a.settings(5), rectifier, a.floats(out), a.floats(out + 1),
                  a.floats(out + 2), a.floats(out + 3), {a.floats(out + 4), a.floats(out + 5)});
  return 0;
}

int gradient(const Call &a, After after) {
  const bool relu = after == After::kRelu, add = after == After::kAddRelu;
  if (!a.fits(add ? "mmcccmmccm" : relu ? "mmccccmcc" : "mmcccmcc")) return 1;
  const Gradient gradient{a.floats(0), add ? a.floats(5) : relu ? a.floats(1) : nullptr, add ? a.floats(9) : nullptr};
  const int dx = add || relu ? 6 : 5;
  kernels.backward(a.maps(), gradient, a.floats(1), a.floats(2), a.floats(3), a.floats(4), relu ? a.floats(5) : nullptr,
                   a.floats(dx), a.floats(dx + 1), a.floats(dx + 2));
  return 0;
}

int stored(const Call &a, After after) {
  const bool add = after == After::kAddRelu;
  if (!a.fits(add ? "mccccsmm" : "mccccsm")) return 1;
  const Rectifier rectifier{after != After::kNothing, add ? a.floats(6) : nullptr};
  kernels.stored_forward(a.maps(), a.layer(1), a.floats(0), a.settings(5), rectifier, a.floats(add ? 7 : 6));
  return 0;
}

int stored_input_gradient(const Call &a, After after) {
  const bool relu = after != After::kNothing, add = after == After::kAddRelu;
  if (!a.fits(add ? "mccsmmm" : relu ? "mccsmm" : "mccsm")) return 1;
  const Gradient gradient{a.floats(0), relu ? a.floats(4) : nullptr, add ? a.floats(6) : nullptr};
  kernels.stored_input_gradient(a.maps(), gradient, a.floats(1), a.floats(2), a.settings(3), a.floats(relu ? 5 : 4));
  return 0;
}

int stored_parameter_gradient(const Call &a, After after) {
  const bool relu = after == After::kRelu;
  if (!a.fits(relu ? "mmccccscc" : "mmccscc")) return 1;
  const Layer layer = relu ? a.layer(2) : Layer{nullptr, nullptr, a.floats(2), a.floats(3)};
  const int settings = relu ? 6 : 4;
  kernels.stored_parameter_gradient(a.maps(), {a.floats(0), relu ? a.floats(1) : nullptr}, a.floats(1), layer,
                                    a.settings(settings), a.floats(settings + 1), a.floats(settings + 2));
  return 0;
}

}  // namespace

// As MindSpore calls them.
#define ENTRY(name, function, after)                                                                                 \
  extern "C" int name(int count, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) { \
    return function({count, params, ndims, shapes, dtypes}, After::after);                                           \
  }

ENTRY(BatchNorm, normalize, kNothing)
ENTRY(BatchNormRelu, normalize, kRelu)
ENTRY(BatchNormAddRelu, normalize, kAddRelu)
ENTRY(BatchNormGradient, gradient, kNothing)
ENTRY(BatchNormReluGradient, gradient, kRelu)
ENTRY(BatchNormAddReluGradient, gradient, kAddRelu)
ENTRY(StoredBatchNorm, stored, kNothing)
ENTRY(StoredBatchNormRelu, stored, kRelu)
ENTRY(StoredBatchNormAddRelu, stored, kAddRelu)
ENTRY(StoredBatchNormInputGradient, stored_input_gradient, kNothing)
ENTRY(StoredBatchNormReluInputGradient, stored_input_gradient, kRelu)
ENTRY(StoredBatchNormAddReluInputGradient, stored_input_gradient, kAddRelu)
ENTRY(StoredBatchNormParameterGradient, stored_parameter_gradient, kNothing)
ENTRY(StoredBatchNormReluParameterGradient, stored_parameter_gradient, kRelu)
