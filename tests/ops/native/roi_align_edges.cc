// Exercises the CPU kernels on edges, for a build with sanitizers: every array is exactly as large as it must be. Each
// case is checked against a plain sum over samples, and the gradient against <dout, pooled> = <gradient, features>.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <random>
#include <vector>

#include "roi_align_math.h"

extern "C" int RoiAlign(int, void **, int *, int64_t **, const char **, void *, void *);
extern "C" int RoiAlignGrad(int, void **, int *, int64_t **, const char **, void *, void *);

namespace {

struct Array {
  std::vector<int64_t> shape;
  std::unique_ptr<float[]> data;
  int64_t size = 1;

  explicit Array(std::vector<int64_t> shape_) : shape(std::move(shape_)) {
    for (int64_t side : shape) size *= side;
    data.reset(new float[size]);
    for (int64_t i = 0; i < size; i++) data[i] = NAN;
  }
  float *plane(int64_t image, int64_t channel) const {
    return data.get() + (image * shape[1] + channel) * shape[2] * shape[3];
  }
};

using Entry = int (*)(int, void **, int *, int64_t **, const char **, void *, void *);

int call(Entry entry, const std::vector<Array *> &arrays) {
  std::vector<void *> params;
  std::vector<int> ndims;
  std::vector<int64_t *> shapes;
  std::vector<const char *> dtypes(arrays.size(), "float32");
  for (Array *array : arrays) {
    params.push_back(array->data.get());
    ndims.push_back(static_cast<int>(array->shape.size()));
    shapes.push_back(array->shape.data());
  }
  return entry(static_cast<int>(arrays.size()), params.data(), ndims.data(), shapes.data(), dtypes.data(), nullptr, nullptr);
}

double pool_plainly(const float *plane, const roi_align::Axis &y, const roi_align::Axis &x, int bin_y, int bin_x) {
  double sum = 0.0;
  for (int i = 0; i < y.samples; i++) {
    for (int j = 0; j < x.samples; j++) {
      double at_y = y.start + bin_y * y.bin + (i + 0.5) * y.bin / y.samples;
      double at_x = x.start + bin_x * x.bin + (j + 0.5) * x.bin / x.samples;
      if (at_y < -1 || at_y > y.size || at_x < -1 || at_x > x.size) continue;
      at_y = std::fmin(std::fmax(at_y, 0), y.size - 1);
      at_x = std::fmin(std::fmax(at_x, 0), x.size - 1);
      const int top = static_cast<int>(at_y), left = static_cast<int>(at_x);
      for (int v = top; v < std::fmin(top + 2, y.size); v++) {
        for (int u = left; u < std::fmin(left + 2, x.size); u++) {
          sum += (1 - std::fabs(at_y - v)) * (1 - std::fabs(at_x - u)) * plane[v * x.size + u];
        }
      }
    }
  }
  return y.samples > 0 && x.samples > 0 ? sum / y.samples / x.samples : 0.0;
}

struct Case {
  int batch, channels, bins, ratio;
  bool aligned;
  std::vector<std::pair<int, int>> sizes;  // of the levels
};

std::vector<float> edge_rois(std::mt19937 *random, int count) {
  const float nan = std::nanf(""), inf = std::numeric_limits<float>::infinity();
  std::vector<float> rois = {
      0, 0,    0,   0,   0,    0, 8,  8, 8,  30,  0, 40, 30, 22,  18,  0,   -30,  -20, 25,   30,   0, 60,   60,  90,  90,
      9, 0,    0,   9,   9,    -1, 0, 0, 9,  9,   nan, 0, 0, 9,   9,   0,   nan,  0,   9,    9,    0, 0,    inf, 9,   inf,
      0, -1e30f, -1e30f, 1e30f, 1e30f, 0, -1e5f, -1e5f, 1e5f, 1e5f, 0, -4, -4, 4, 4, 0, 1e9f, 1e9f, 2e9f, 2e9f, inf, 0, 0, 1, 1,
  };
  std::uniform_real_distribution<float> place(-20, 70), side(0, 60);
  for (int i = 0; i < count; i++) {
    const float x = place(*random), y = place(*random);
    rois.insert(rois.end(), {static_cast<float>(i % 2), x, y, x + side(*random), y + side(*random)});
  }
  return rois;
}

bool check(const Case &test, int count) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::vector<float> rois = edge_rois(&random, 20);
  if (count >= 0) rois.resize(5 * count);
  const int64_t total = rois.size() / 5;
  Array boxes({total, 5}), settings({static_cast<int64_t>(3 + test.sizes.size())});
  for (size_t i = 0; i < rois.size(); i++) boxes.data[i] = rois[i];
  settings.data[0] = test.ratio;
  settings.data[1] = test.aligned;
  settings.data[2] = 8;
  std::vector<Array> levels, gradients;
  for (size_t i = 0; i < test.sizes.size(); i++) {
    settings.data[3 + i] = 2 << i;
    levels.emplace_back(std::vector<int64_t>{test.batch, test.channels, test.sizes[i].first, test.sizes[i].second});
    gradients.emplace_back(levels.back().shape);
    for (int64_t k = 0; k < levels.back().size; k++) levels.back().data[k] = normal(random);
  }
  Array out({total, test.channels, test.bins, test.bins}), dout(out.shape);
  for (int64_t i = 0; i < dout.size; i++) dout.data[i] = normal(random);

  std::vector<Array *> inputs;
  for (Array &level : levels) inputs.push_back(&level);
  inputs.insert(inputs.end(), {&boxes, &settings});
  std::vector<Array *> forward = inputs, backward = inputs;
  forward.push_back(&out);
  backward.push_back(&dout);
  for (Array &gradient : gradients) backward.push_back(&gradient);
  if (call(RoiAlign, forward) != 0 || call(RoiAlignGrad, backward) != 0) return false;

  double pooled = 0.0, spread = 0.0, scale = 1.0;
  for (int64_t r = 0; r < total; r++) {
    const float *roi = boxes.data.get() + 5 * r;
    const int image = roi_align::image_of(roi, test.batch);
    const int level = roi_align::level_of(roi, 8, static_cast<int>(levels.size()));
    const int height = test.sizes[level].first, width = test.sizes[level].second;
    const auto y = roi_align::make_axis(roi[2], roi[4], settings.data.get(), level, test.bins, height);
    const auto x = roi_align::make_axis(roi[1], roi[3], settings.data.get(), level, test.bins, width);
    for (int64_t i = 0; i < out.size / total; i++) {
      const int64_t channel = i / (test.bins * test.bins), bin = i % (test.bins * test.bins);
      const int64_t at = r * (out.size / total) + i;
      // Large RoIs take too long sample by sample.
      if (y.samples < 200) {
        const double expected = image < 0 ? 0.0
                                          : pool_plainly(levels[level].plane(image, channel), y, x,
                                                         static_cast<int>(bin / test.bins),
                                                         static_cast<int>(bin % test.bins));
        if (!(std::fabs(out.data[at] - expected) < 1e-5)) {
          std::printf("roi %d, value %d: %g, expected %g\n", int(r), int(i), double(out.data[at]), expected);
          return false;
        }
      }
      pooled += double(dout.data[at]) * out.data[at];
      scale += std::fabs(double(dout.data[at]) * out.data[at]);
    }
  }
  for (size_t l = 0; l < levels.size(); l++) {
    for (int64_t i = 0; i < levels[l].size; i++) spread += double(levels[l].data[i]) * gradients[l].data[i];
  }
  if (!(std::fabs(pooled - spread) < 1e-5 * scale)) {
    std::printf("<dout, pooled> = %g, <gradient, features> = %g\n", pooled, spread);
    return false;
  }
  return true;
}

}  // namespace

int main() {
  const std::vector<Case> cases = {
      {2, 3, 7, 0, true, {{24, 32}}},           {2, 1, 14, 0, true, {{24, 30}}},    {1, 17, 7, 2, false, {{23, 33}}},
      {2, 5, 3, 0, false, {{9, 5}}},            {1, 9, 1, 0, true, {{1, 1}}},       {2, 2, 28, 9, true, {{40, 57}}},
      {2, 8, 2, 3, true, {{24, 31}, {12, 16}}}, {2, 4, 7, 0, true, {{24, 32}, {12, 16}, {6, 8}, {3, 4}, {2, 2}}},
      {2, 0, 7, 0, true, {{24, 32}}},
  };
  for (size_t i = 0; i < cases.size(); i++) {
    for (int count : {-1, 0, 1}) {
      if (!check(cases[i], count)) {
        std::printf("case %d failed\n", int(i));
        return 1;
      }
    }
  }
  std::printf("all right\n");
  return 0;
}
