// Runs both sets of convolution kernels on odd shapes, in arrays of exactly their size, against plain loops.
#include <omp.h>

#include <cmath>
#include <cstdio>

#include "convolution.cc"
#include "random_values.h"

namespace {

double difference(const Values &actual, const std::vector<double> &expected) {
  double largest = 1e-30, worst = 0.0;
  for (size_t i = 0; i < expected.size(); i++) {
    if (std::isnan(actual[i])) return INFINITY;
    largest = std::max(largest, std::fabs(expected[i]));
    worst = std::max(worst, std::fabs(actual[i] - expected[i]));
  }
  return worst / largest;
}

struct Set {
  const char *name;
  double tolerance;
  Forward forward;
  Gradient input_gradient, weight_gradient;
  BiasGradient bias_gradient;
};

bool check(const Set &set, const Convolution &c) {
  const int taps = c.kernel_height * c.kernel_width;
  const Values x = random_values(c.batch * c.in * c.height * c.width, 1), weights = random_values(c.out * c.in * taps, 2);
  const Values dout = random_values(c.batch * c.out * c.out_height * c.out_width, 3);
  std::vector<double> out(dout.size()), dx(x.size()), dweights(weights.size());
  for (int64_t i = 0; i < static_cast<int64_t>(dout.size()); i++) {
    const int64_t ox = i % c.out_width, oy = i / c.out_width % c.out_height, plane = i / c.out_width / c.out_height;
    const int64_t o = plane % c.out, image = plane / c.out;
    for (int64_t k = 0; k < c.in * taps; k++) {
      const int64_t y = oy * c.stride + k % taps / c.kernel_width - c.kernel_height / 2;
      const int64_t px = ox * c.stride + k % c.kernel_width - c.kernel_width / 2;
      if (y < 0 || px < 0 || y >= c.height || px >= c.width) continue;
      const int64_t at = ((image * c.in + k / taps) * c.height + y) * c.width + px, weight = o * c.in * taps + k;
      out[i] += static_cast<double>(x[at]) * weights[weight];
      dx[at] += static_cast<double>(dout[i]) * weights[weight];
      dweights[weight] += static_cast<double>(dout[i]) * x[at];
    }
  }
  Values y(out.size(), NAN), gx(dx.size(), NAN), gw(dweights.size(), NAN);
  set.forward(c, x.data(), weights.data(), {}, y.data());
  set.input_gradient(c, dout.data(), weights.data(), gx.data());
  set.weight_gradient(c, x.data(), dout.data(), gw.data());
  double worst = std::max({difference(y, out), difference(gx, dx), difference(gw, dweights)});

  // The same with what may follow, and the gradient of that.
  const Values scale = random_values(c.out, 4), shift = random_values(c.out, 5);
  set.forward(c, x.data(), weights.data(), {scale.data(), shift.data(), true}, y.data());
  std::vector<double> masked(out.size()), dbias(c.out);
  for (int64_t i = 0; i < static_cast<int64_t>(out.size()); i++) {
    const int64_t o = i / c.out_width / c.out_height % c.out;
    out[i] = std::max(0.0, scale[o] * out[i] + shift[o]);
    if (y[i] > 0.0f) masked[i] = dout[i];
    dbias[o] += masked[i];
  }
  Values through(out.size(), NAN), gb(c.out, NAN);
  set.bias_gradient(c, dout.data(), y.data(), through.data(), gb.data());
  worst = std::max({worst, difference(y, out), difference(through, masked), difference(gb, dbias)});
  if (worst < set.tolerance) return true;
  std::printf("%s %ld x %ld -> %ld, %d x %d, kernel %d, stride %d: %.1e\n", set.name, static_cast<long>(c.batch),
              static_cast<long>(c.in), static_cast<long>(c.out), c.height, c.width, c.kernel_height, c.stride, worst);
  return false;
}

}  // namespace

int main() {
  std::vector<Set> sets;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
    sets.push_back({"avx2", 2e-6, avx2::forward, avx2::input_gradient, avx2::weight_gradient, avx2::bias_gradient});
    sets.push_back({"avx2, Winograd", 1e-5, avx2::winograd_forward, avx2::winograd_input_gradient,
                    avx2::winograd_weight_gradient, avx2::bias_gradient});
  }
  if (__builtin_cpu_supports("avx512f")) {
    sets.push_back(
        {"avx512", 2e-6, avx512::forward, avx512::input_gradient, avx512::weight_gradient, avx512::bias_gradient});
    sets.push_back({"avx512, Winograd", 1e-5, avx512::winograd_forward, avx512::winograd_input_gradient,
                    avx512::winograd_weight_gradient, avx512::bias_gradient});
  }
  const int sizes[][2] = {{1, 1}, {2, 3}, {7, 7}, {14, 14}, {9, 33}, {3, 70}};
  const int64_t channels[][2] = {{1, 1}, {3, 8}, {17, 21}, {70, 9}};
  bool right = true;
  for (const Set &set : sets) {
    for (const auto &size : sizes) {
      for (const auto &channel : channels) {
        for (int kernel : {1, 3, 7}) {
          for (int stride : {1, 2}) {
            const int height = (size[0] + stride - 1) / stride, width = (size[1] + stride - 1) / stride;
            omp_set_num_threads(1 + kernel % 3);
            const int64_t batch = kernel == 7 ? 1 : 3;
            right &= check(set, {batch, channel[0], channel[1], size[0], size[1], kernel, kernel, height, width, stride});
          }
        }
      }
    }
    omp_set_num_threads(2);
    right &= check(set, {1, 40, 520, 12, 25, 1, 1, 12, 25, 1});  // several blocks of rows
    right &= check(set, {2, 64, 16, 24, 27, 3, 5, 24, 27, 1});  // several depths of tiles
    for (int stride : {1, 2}) {  // few pixels and many weights, which are packed as they are used
      right &= check(set, {1, 70, 530, 9, 11, 3, 3, (9 + stride - 1) / stride, (11 + stride - 1) / stride, stride});
    }
    right &= check(set, {9, 24, 40, 4, 4, 3, 3, 4, 4, 1});
    for (int width : {15, 16, 17, 18, 70}) {  // tiles whole and partly outside, in several blocks and steps
      right &= check(set, {3, 17, 21, 19, width, 3, 3, 19, width, 1});
      right &= check(set, {1, 50, 16, 2 + width, 5, 3, 3, 2 + width, 5, 1});
    }
    right &= check(set, {25, 16, 50, 20, 9, 3, 3, 20, 9, 1});
    right &= check(set, {1, 17, 21, 91, 93, 3, 3, 91, 93, 1});     // enough tiles for threads to share them, not rows
    right &= check(set, {170, 720, 24, 1, 1, 3, 3, 1, 1, 1});      // several blocks of tiles and chunks of depth
    right &= check(set, {200, 96, 720, 1, 1, 3, 3, 1, 1, 1});      // several steps of the weights' gradient
    right &= check(set, {20, 96, 720, 1, 1, 3, 3, 1, 1, 1});       // one step, rows in groups
  }
  if (right) std::printf("all right\n");
  return right ? 0 : 1;
}
