// Losses of odd numbers of anchors with every set of kernels this processor has, in arrays of exactly their size.
#include <cstdio>
#include <vector>

#include "focal_loss.cc"

namespace {

double softplus(double x) { return x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)); }

bool check(Kernel kernel, Settings settings, int64_t classes, int64_t plane) {
  std::vector<float> logits(classes * plane), loss(plane), slopes(logits.size());
  std::vector<int32_t> labels(plane);
  for (size_t i = 0; i < logits.size(); i++) logits[i] = static_cast<float>(static_cast<int>(i * 7919 % 401) - 200) / (i % 3 ? 20.0f : 1.0f);
  for (int64_t i = 0; i < plane; i++) labels[i] = static_cast<int32_t>(i % (classes + 2)) - 1;
  kernel(settings, logits.data(), labels.data(), classes, plane, plane, loss.data(), slopes.data());
  for (int64_t i = 0; i < plane; i++) {
    double sum = 0.0;
    for (int64_t c = 0; c < classes; c++) {
      const bool positive = labels[i] == c;
      const double sign = positive ? -1.0 : 1.0, weight = positive ? settings.alpha : 1.0 - settings.alpha;
      const double x = sign * logits[c * plane + i], p = 1.0 / (1.0 + std::exp(-x)), focus = weight * std::pow(p, settings.gamma);
      sum += focus * softplus(x);
      const double slope = sign * focus * (settings.gamma * (1.0 - p) * softplus(x) + p);
      if (std::abs(slopes[c * plane + i] - slope) > 1e-6 + 1e-5 * std::abs(slope)) return false;
    }
    if (std::abs(loss[i] - sum) > 1e-6 + 3e-6 * sum) return false;
  }
  return true;
}

}  // namespace

int main() {
  std::vector<Kernel> kernels = {portable::focal_loss<true>};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) kernels.push_back(avx2::focal_loss<true>);
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq")) kernels.push_back(avx512::focal_loss<true>);
#endif
  bool right = check(general, {1.5f, 0.4f}, 3, 37);
  for (Kernel kernel : kernels) {
    for (int64_t plane : {1, 15, 16, 17, 100}) right &= check(kernel, {2.0f, 0.25f}, 5, plane);
  }
  float settings[2] = {2.0f, 0.25f}, values[6] = {};
  int32_t labels[2] = {};
  void *params[] = {settings, values, labels, values, values};
  int ndims[] = {1, 3, 2, 2, 3};
  int64_t two[] = {2}, map[] = {1, 3, 2}, anchors[] = {1, 2}, wrong[] = {1, 3};
  int64_t *shapes[] = {two, map, wrong, wrong, map};
  const char *dtypes[] = {"float32", "float32", "int32", "float32", "float32"};
  right &= FocalLoss(5, params, ndims, shapes, dtypes, nullptr, nullptr) != 0;
  shapes[2] = shapes[3] = anchors;
  dtypes[2] = "int64";
  right &= FocalLoss(5, params, ndims, shapes, dtypes, nullptr, nullptr) != 0;
  std::puts(right ? "all right" : "wrong");
  return right ? 0 : 1;
}
