// Runs updates and averages with every set of kernels this processor has, in arrays of exactly their size: one value, a few,
// and more than a thread's stretch. Sets differ by rounding only, numbers of threads by nothing; bad arrays are refused.
#include <cstdio>

#include "weight_update.cc"
#include "random_values.h"

namespace {

const std::vector<int64_t> kSizes = {1, 15, 16, 17, 1025, 3 * kStretch + 5};

// Arrays as MindSpore hands them over.
struct Call {
  std::vector<Values> values;
  std::vector<void *> params;
  std::vector<int> ndims;
  std::vector<int64_t> sizes;
  std::vector<int64_t *> shapes;
  std::vector<const char *> dtypes;

  explicit Call(std::vector<Values> given) : values(std::move(given)) {
    for (const Values &array : values) sizes.push_back(static_cast<int64_t>(array.size()));
    for (size_t i = 0; i < values.size(); i++) {
      params.push_back(values[i].data());
      ndims.push_back(1);
      shapes.push_back(&sizes[i]);
      dtypes.push_back("float32");
    }
  }

  template <typename Function>
  int run(Function function) {
    return function(static_cast<int>(params.size()), params.data(), ndims.data(), shapes.data(), dtypes.data(), nullptr,
                    nullptr);
  }
};

std::vector<Values> update_arrays(int moments) {
  std::vector<Values> all = {{0.5f, 1.0f, 0.1f, 0.9f, 0.99f, 1e-6f}, Values(kSizes.size(), 0.01f)};
  for (int kind = 0; kind < 2 + moments; kind++) {
    for (size_t i = 0; i < kSizes.size(); i++) {
      Values values = random_values(kSizes[i], 10 * kind + i + 1);
      if (kind == 3) {
        for (float &value : values) value = std::fabs(value);
      }
      all.push_back(values);
    }
  }
  all.push_back({0.0f});
  return all;
}

double difference(const std::vector<Values> &a, const std::vector<Values> &b) {
  double worst = 0.0;
  for (size_t i = 0; i < a.size(); i++) {
    for (size_t j = 0; j < a[i].size(); j++) worst = std::max(worst, std::fabs(static_cast<double>(a[i][j]) - b[i][j]));
  }
  return worst;
}

struct Set {
  const char *name;
  double (*squared_sum)(const float *, float, int64_t);
  Rule rules[3];
  void (*average)(float, float *, const float *, int64_t);
};

std::vector<Set> sets() {
  std::vector<Set> all = {{"portable",
                           portable::squared_sum,
                           {portable::momentum, portable::adam, portable::adam_weight_decay},
                           portable::average}};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    all.push_back({"avx2", avx2::squared_sum, {avx2::momentum, avx2::adam, avx2::adam_weight_decay}, avx2::average});
  }
  if (__builtin_cpu_supports("avx512f")) {
    all.push_back(
        {"avx512", avx512::squared_sum, {avx512::momentum, avx512::adam, avx512::adam_weight_decay}, avx512::average});
  }
#endif
  return all;
}

bool fail(const char *what, const char *name) {
  fprintf(stderr, "%s: %s\n", name, what);
  return false;
}

bool check_sets() {
  const std::vector<Set> all = sets();
  const Step step = {0.5f, 0.1f, 0.9f, 0.99f, 1e-6f};
  for (const Set &set : all) {
    for (const int64_t size : kSizes) {
      const Values gradient = random_values(size, 3);
      const double sum = set.squared_sum(gradient.data(), 0.5f, size);
      double exact = 0.0;
      for (const float value : gradient) exact += 0.25 * value * value;
      if (std::fabs(sum - exact) > 1e-6 * exact) return fail("squared sum", set.name);
      for (int rule = 0; rule < 3; rule++) {
        std::vector<Values> own = {random_values(size, 5), random_values(size, 6), Values(size, 0.25f)};
        std::vector<Values> first = own;
        set.rules[rule](step, 0.01f, gradient.data(), own[0].data(), own[1].data(), own[2].data(), size);
        all[0].rules[rule](step, 0.01f, gradient.data(), first[0].data(), first[1].data(), first[2].data(), size);
        if (difference(own, first) > 1e-6) return fail("rule", set.name);
      }
      Values own = random_values(size, 5), first = own;
      set.average(0.75f, own.data(), gradient.data(), size);
      all[0].average(0.75f, first.data(), gradient.data(), size);
      if (difference({own}, {first}) > 1e-6) return fail("average", set.name);
    }
  }
  return true;
}

template <typename Function>
bool check_threads(Function function, int moments, const char *name) {
  std::vector<Values> results[2];
  for (int i = 0; i < 2; i++) {
    omp_set_num_threads(i == 0 ? 1 : 3);
    Call call(update_arrays(moments));
    if (call.run(function) != 0) return fail("refused", name);
    results[i] = call.values;
  }
  if (difference(results[0], results[1]) != 0.0) return fail("threads", name);
  Call short_of_one(update_arrays(moments));
  short_of_one.sizes[3] -= 1;
  if (short_of_one.run(function) == 0) return fail("shapes that differ were taken", name);
  Call doubles(update_arrays(moments));
  doubles.dtypes[4] = "float64";
  if (doubles.run(function) == 0) return fail("float64 was taken", name);
  return true;
}

bool check_average() {
  std::vector<Values> arrays = {{0.75f}};
  for (int kind = 0; kind < 2; kind++) {
    for (const int64_t size : kSizes) arrays.push_back(random_values(size, kind + 1));
  }
  arrays.push_back({0.0f});
  Call call(arrays);
  if (call.run(MovingAverage) != 0 || call.values.back()[0] != 0.75f) return fail("refused", "average");
  return true;
}

}  // namespace

int main() {
  const bool right = check_sets() && check_threads(MomentumUpdate, 1, "momentum") && check_threads(AdamUpdate, 2, "adam") &&
                     check_threads(AdamWeightDecayUpdate, 2, "adamw") && check_average();
  if (right) puts("all right");
  return right ? 0 : 1;
}
