// Updates of all weights in place, in float32 on the CPU, as `aot` entries of MindSpore's ops.Custom.
//
//   MomentumUpdate:                     settings, decays, gradients, weights, moments -> norm
//   AdamUpdate, AdamWeightDecayUpdate:  settings, decays, gradients, weights, first moments, second moments -> norm
//   MovingAverage:                      kept, values, averages -> kept
//
// Plural names stand for one array per parameter, of the parameter's shape. settings [6]: factor of the gradients, greatest
// norm of all gradients together after that (0: none), learning rate, beta1, beta2, epsilon. decays [number of parameters]:
// weight decay. norm [1]: of the gradients before clipping. Weights, moments and averages are written where they lie.
//
// MindSpore's operators read and write memory once for the square, the sum, the quotient, the product and the update of each
// parameter, and again for averages. Sums are added up in an order that does not depend on the number of threads.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "../../arrays.h"

namespace {

struct Step {
  float factor, rate, beta1, beta2, epsilon;
};

namespace portable {
#include "update_simd.h"
}  // namespace portable

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
#include "update_simd.h"
}  // namespace avx2
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx2,fma")
namespace avx512 {
#include "update_simd.h"
}  // namespace avx512
#pragma GCC pop_options
#endif

using Rule = void (*)(const Step &, float, const float *, float *, float *, float *, int64_t);

struct Kernels {
  double (*squared_sum)(const float *, float, int64_t);
  Rule momentum, adam, adam_weight_decay;
  void (*average)(float, float *, const float *, int64_t);
};

Kernels of_this_processor() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f")) {
    return {avx512::squared_sum, avx512::momentum, avx512::adam, avx512::adam_weight_decay, avx512::average};
  }
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    return {avx2::squared_sum, avx2::momentum, avx2::adam, avx2::adam_weight_decay, avx2::average};
  }
#endif
  return {portable::squared_sum, portable::momentum, portable::adam, portable::adam_weight_decay, portable::average};
}

const Kernels kernels = of_this_processor();

// Part of one parameter, that one thread works on.
struct Stretch {
  int parameter;
  int64_t start, count;
};

constexpr int64_t kStretch = 32768;
// Fewer values are faster done by one thread.
constexpr int64_t kWorthThreads = 65536;

// The arrays of one call.
struct GroupedArrays : Arrays {
  int64_t size(int index) const {
    int64_t size = 1;
    for (int d = 0; d < ndims[index]; d++) size *= shapes[index][d];
    return size;
  }

  // Whether arrays [first, count - 1) are `kinds` groups of equally many, the groups' shapes being the same.
  bool grouped(int first, int kinds) const {
    const int arrays = count - 1 - first;
    if (arrays < kinds || arrays % kinds != 0) return false;
    for (int i = 0; i < count; i++) {
      if (strcmp(dtypes[i], "float32") != 0) return false;
    }
    const int number = arrays / kinds;
    for (int i = first + number; i < count - 1; i++) {
      const int like = i - number;
      if (ndims[i] != ndims[like] || !std::equal(shapes[i], shapes[i] + ndims[i], shapes[like])) return false;
    }
    return true;
  }

  std::vector<Stretch> stretches(int first, int number) const {
    std::vector<Stretch> all;
    for (int i = 0; i < number; i++) {
      const int64_t values = size(first + i);
      for (int64_t start = 0; start < values; start += kStretch) all.push_back({i, start, std::min(kStretch, values - start)});
    }
    return all;
  }
};

template <typename Work>
void for_each(const std::vector<Stretch> &stretches, const Work &work) {
  int64_t values = 0;
  for (const Stretch &stretch : stretches) values += stretch.count;
  const int64_t count = static_cast<int64_t>(stretches.size());
#pragma omp parallel for schedule(static) if (values > kWorthThreads)
  for (int64_t i = 0; i < count; i++) work(i);
}

int update(const GroupedArrays &arrays, int moments, Rule rule) {
  const int kinds = 2 + moments;
  if (!arrays.grouped(2, kinds) || arrays.size(0) != 6) return 1;
  const int number = (arrays.count - 3) / kinds;
  if (arrays.size(1) != number) return 1;
  const float *settings = arrays.floats(0), *decays = arrays.floats(1);
  const float factor = settings[0], clip = settings[1];
  const std::vector<Stretch> stretches = arrays.stretches(2, number);

  std::vector<double> sums(stretches.size());
  for_each(stretches, [&](int64_t i) {
    const Stretch &part = stretches[i];
    sums[i] = kernels.squared_sum(arrays.floats(2 + part.parameter) + part.start, factor, part.count);
  });
  double total = 0.0;
  for (const double sum : sums) total += sum;
  const double norm = std::sqrt(total);
  // Not `norm > clip`: what is not finite must show in the weights, as it does in MindSpore's clipping.
  const double scale = clip > 0.0f && !(norm <= clip) ? clip / norm : 1.0;

  const Step step = {static_cast<float>(factor * scale), settings[2], settings[3], settings[4], settings[5]};
  for_each(stretches, [&](int64_t i) {
    const Stretch &part = stretches[i];
    const auto of = [&](int kind) { return arrays.floats(2 + kind * number + part.parameter) + part.start; };
    rule(step, decays[part.parameter], of(0), of(1), of(2), moments > 1 ? of(3) : nullptr, part.count);
  });
  arrays.floats(arrays.count - 1)[0] = static_cast<float>(norm);
  return 0;
}

}  // namespace

extern "C" int MomentumUpdate(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  return update({nparam, params, ndims, shapes, dtypes}, 1, kernels.momentum);
}

extern "C" int AdamUpdate(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  return update({nparam, params, ndims, shapes, dtypes}, 2, kernels.adam);
}

extern "C" int AdamWeightDecayUpdate(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *,
                                     void *) {
  return update({nparam, params, ndims, shapes, dtypes}, 2, kernels.adam_weight_decay);
}

extern "C" int MovingAverage(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  const GroupedArrays arrays{nparam, params, ndims, shapes, dtypes};
  if (!arrays.grouped(1, 2) || arrays.size(0) != 1) return 1;
  const int number = (nparam - 2) / 2;
  const float kept = arrays.floats(0)[0];
  const std::vector<Stretch> stretches = arrays.stretches(1, number);
  for_each(stretches, [&](int64_t i) {
    const Stretch &part = stretches[i];
    const auto of = [&](int kind) { return arrays.floats(1 + kind * number + part.parameter) + part.start; };
    kernels.average(kept, of(1), of(0), part.count);
  });
  arrays.floats(nparam - 1)[0] = kept;
  return 0;
}
