// Sums maps of odd sizes with every set of kernels this processor has, in arrays of exactly their size, against plain
// loops in float64; arrays that do not fit are refused.
#include <cstdio>

#include "map_sum.cc"
#include "random_values.h"

namespace {

using Exact = std::vector<double>;

bool close(const Values &actual, const Exact &expected) {
  double largest = 1.0;
  for (const double value : expected) largest = std::max(largest, std::fabs(value));
  for (size_t i = 0; i < expected.size(); i++) {
    if (!(std::fabs(actual[i] - expected[i]) <= 2e-6 * largest)) return false;
  }
  return true;
}

struct Problem {
  Sizes sizes;
  Values a, b, dout;
  int64_t fine, coarse;

  explicit Problem(const Sizes &s)
      : sizes(s), fine(s.height * s.width), coarse(s.rows * s.columns) {
    a = random_values(s.planes * fine, 1);
    b = random_values(s.planes * coarse, 2);
    dout = random_values(s.planes * fine, 3);
  }

  int64_t below(int64_t i) const {
    const int64_t plane = i / fine, y = i % fine / sizes.width, x = i % sizes.width;
    return plane * coarse + y / sizes.factor * sizes.columns + x / sizes.factor;
  }

  // The call of an entry by its arrays, which are told apart by their lengths.
  template <typename Entry>
  int call(Entry entry, const std::vector<Values *> &arrays) const {
    int64_t of_a[4] = {1, sizes.planes, sizes.height, sizes.width};
    int64_t of_b[4] = {1, sizes.planes, sizes.rows, sizes.columns}, of_attention[4] = {1, sizes.planes, 1, 1};
    std::vector<void *> params;
    std::vector<int> ndims(arrays.size(), 4);
    std::vector<int64_t *> shapes;
    std::vector<const char *> dtypes(arrays.size(), "float32");
    for (Values *values : arrays) {
      params.push_back(values->data());
      const size_t size = values->size();
      shapes.push_back(size == a.size() ? of_a : size == b.size() ? of_b : of_attention);
    }
    const int count = static_cast<int>(arrays.size());
    return entry(count, params.data(), ndims.data(), shapes.data(), dtypes.data(), nullptr, nullptr);
  }
};

bool run(const Sizes &sizes, const Kernels &set, bool relu, bool with_attention) {
  Problem problem(sizes);
  const int64_t planes = sizes.planes, fine = problem.fine, coarse = problem.coarse;
  const Values &a = problem.a, &b = problem.b, &dout = problem.dout;
  Values attention(planes, 1.0f), row(sizes.columns * sizes.factor), out(a.size()), da(a.size()), db(b.size());
  for (int64_t p = 0; p < planes; p++) {
    const float *from = a.data() + p * fine, *repeated = b.data() + p * coarse, *d = dout.data() + p * fine;
    float *to = out.data() + p * fine, *to_a = da.data() + p * fine, *to_b = db.data() + p * coarse;
    if (with_attention) {
      attention[p] = (relu ? set.attention_relu : set.attention)(sizes, from, repeated, row.data(), to);
    } else {
      (relu ? set.sum_relu : set.sum)(sizes, from, repeated, 1.0f, row.data(), to);
    }
    if (relu) {
      set.relu_gradient(d, to, fine, to_a);
      d = to_a;
    }
    if (with_attention) {
      set.attention_gradient(sizes, d, repeated, attention[p], row.data(), to_a, to_b);
    } else {
      if (!relu) std::copy_n(d, fine, to_a);
      set.block_sums(sizes, d, row.data(), to_b);
    }
  }

  Exact weight(planes, 1.0), wanted(a.size()), of_a(a.size()), of_b(b.size()), of_weight(planes);
  if (with_attention) {
    for (int64_t p = 0; p < planes; p++) {
      const double mean = std::accumulate(a.begin() + p * fine, a.begin() + (p + 1) * fine, 0.0) / fine;
      weight[p] = 1.0 / (1.0 + std::exp(-mean));
    }
  }
  for (int64_t i = 0; i < planes * fine; i++) {
    const int64_t p = i / fine, j = problem.below(i);
    wanted[i] = a[i] + weight[p] * b[j];
    if (relu && wanted[i] < 0.0) wanted[i] = 0.0;
    // As the kernels, where rounding decides whether a sum is positive.
    of_a[i] = relu && out[i] <= 0.0f ? 0.0 : dout[i];
    of_b[j] += weight[p] * of_a[i];
    of_weight[p] += of_a[i] * b[j];
  }
  if (with_attention) {
    for (int64_t i = 0; i < planes * fine; i++) {
      const double w = weight[i / fine];
      of_a[i] += of_weight[i / fine] * w * (1.0 - w) / fine;
    }
  }
  return close(attention, weight) && close(out, wanted) && close(da, of_a) && close(db, of_b);
}

// Of the entries, which must write what the kernels do, into arrays of that size.
bool run_entries(const Sizes &sizes) {
  Problem problem(sizes);
  Values &a = problem.a, &b = problem.b, &dout = problem.dout;
  Values attention(sizes.planes), out(a.size()), da(a.size()), db(b.size());
  bool fine = problem.call(MapSum, {&a, &b, &out}) == 0 && problem.call(MapSumGradient, {&dout, &b, &db}) == 0;
  fine = fine && problem.call(MapSumRelu, {&a, &b, &out}) == 0;
  fine = fine && problem.call(MapSumReluGradient, {&dout, &out, &b, &da, &db}) == 0;
  return fine && problem.call(ReluGradient, {&dout, &out, &da}) == 0;
}

bool run_attention_entries(const Sizes &sizes) {
  Problem problem(sizes);
  Values &a = problem.a, &b = problem.b, &dout = problem.dout;
  Values attention(sizes.planes), out(a.size()), da(a.size()), db(b.size());
  bool fine = problem.call(AttentionSum, {&a, &b, &out, &attention}) == 0;
  fine = fine && problem.call(AttentionSumGradient, {&dout, &b, &attention, &da, &db}) == 0;
  fine = fine && problem.call(AttentionSumRelu, {&a, &b, &out, &attention}) == 0;
  return fine && problem.call(AttentionSumReluGradient, {&dout, &out, &b, &attention, &da, &db}) == 0;
}

bool refuses_others() {
  Problem problem({2, 6, 6, 4, 4, 2});  // twice 4 is more than a row too many
  Values &a = problem.a, &b = problem.b, out(a.size());
  return problem.call(MapSum, {&a, &b, &out}) != 0 && problem.call(MapSum, {&a, &b}) != 0;
}

}  // namespace

int main() {
  std::vector<Kernels> sets = {KERNELS_OF(portable)};
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) sets.push_back(KERNELS_OF(avx2));
  if (__builtin_cpu_supports("avx512f")) sets.push_back(KERNELS_OF(avx512));
#endif
  const int64_t sides[][2] = {{1, 1}, {1, 7}, {5, 1}, {4, 4}, {13, 17}, {50, 67}};
  for (const int64_t factor : {1, 2, 3, 4, 8}) {
    for (const auto &side : sides) {
      for (const int64_t cut : {0, 1}) {
        if (cut == 1 && (factor == 1 || side[0] == 1 || side[1] == 1)) continue;
        const Sizes sizes{3, side[0] * factor - cut, side[1] * factor - cut, side[0], side[1], factor};
        bool right = run_entries(sizes) && run_attention_entries(sizes);
        for (const Kernels &set : sets) {
          for (const int form : {0, 1, 2, 3}) right = right && run(sizes, set, form % 2 != 0, form >= 2);
        }
        if (right) continue;
        fprintf(stderr, "%ld x %ld from %ld x %ld\n", static_cast<long>(sizes.height), static_cast<long>(sizes.width),
                static_cast<long>(sizes.rows), static_cast<long>(sizes.columns));
        return 1;
      }
    }
  }
  if (!refuses_others()) {
    fprintf(stderr, "took what does not fit\n");
    return 1;
  }
  puts("all right");
  return 0;
}
