// The sigmoid focal loss and its derivative in float32 on the CPU, as an `aot` entry of MindSpore's ops.Custom.
//
//   FocalLoss:  settings [gamma, alpha], logits [M,C,S], labels [M,S]  -> loss [M,S], slope [M,C,S]
//
// focal_loss.py says what they are. MindSpore's operators read and write the logits' size a dozen times.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "../../arrays.h"

namespace {

struct Settings {
  float gamma, alpha;
};

namespace portable {
#include "focal_loss_simd.h"
}  // namespace portable

#if defined(__x86_64__)
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
#include "focal_loss_simd.h"
}  // namespace avx2
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx2,fma,prefer-vector-width=512")
namespace avx512 {
#include "focal_loss_simd.h"
}  // namespace avx512
#pragma GCC pop_options
#endif

using Kernel = void (*)(Settings, const float *, const int32_t *, int64_t, int64_t, int64_t, float *, float *);

template <bool SQUARE>
Kernel of_this_processor() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) return avx512::focal_loss<SQUARE>;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return avx2::focal_loss<SQUARE>;
#endif
  return portable::focal_loss<SQUARE>;
}

const Kernel square = of_this_processor<true>(), general = of_this_processor<false>();

// Anchors of a task: their sums stay in the first-level cache.
constexpr int64_t kBlock = 512;
// Fewer logits are faster done by one thread.
constexpr int64_t kWorthThreads = 16384;

}  // namespace

extern "C" int FocalLoss(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  const Arrays arrays{nparam, params, ndims, shapes, dtypes};
  if (nparam != 5 || !arrays.has(0, 1) || shapes[0][0] != 2 || !arrays.has(1, 3) || !arrays.has(2, 2, "int32")) return 1;
  if (!arrays.has(3, 2) || !arrays.has(4, 3) || !arrays.same(1, 4, 3) || !arrays.same(2, 3, 2)) return 1;
  const int64_t images = shapes[1][0], classes = shapes[1][1], plane = shapes[1][2];
  if (shapes[2][0] != images || shapes[2][1] != plane) return 1;
  const Settings settings{arrays.floats(0)[0], arrays.floats(0)[1]};
  const float *logits = arrays.floats(1);
  const int32_t *labels = arrays.integers(2);
  float *loss = arrays.floats(3), *slopes = arrays.floats(4);
  const Kernel kernel = settings.gamma == 2.0f ? square : general;
  const int64_t blocks = (plane + kBlock - 1) / kBlock;
#pragma omp parallel for schedule(static) if (images * classes * plane > kWorthThreads)
  for (int64_t task = 0; task < images * blocks; task++) {
    const int64_t image = task / blocks, first = task % blocks * kBlock, at = image * classes * plane + first;
    kernel(settings, logits + at, labels + image * plane + first, classes, plane, std::min(kBlock, plane - first),
           loss + image * plane + first, slopes + at);
  }
  return 0;
}
