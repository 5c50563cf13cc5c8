// The geometry of RoIAlign that the CPU and the CUDA kernels share: levels, sample positions, bilinear weights.
//
// The average over a bin is separable: the samples of a bin are a grid, and the rule at the border looks at each axis
// alone. So the weight of pixel (y, x) in bin (p, q) is weight_y(p, y) * weight_x(q, x), and all below is for one axis.
#pragma once

#include <cmath>
#include <cstdint>

#ifdef __CUDACC__
#define ROI_FUNCTION __host__ __device__ inline
#else
#define ROI_FUNCTION inline
#endif

namespace roi_align {

// What the settings tensor holds, in this order; the strides of the levels follow.
enum Setting { kSamplingRatio = 0, kAligned = 1, kFinestScale = 2, kStrides = 3 };

// Bins this many pixels long have one sample a pixel; longer ones do not get more. It bounds the work for absurd RoIs.
constexpr int kMostSamples = 4096;

// One axis of one RoI on one feature map.
struct Axis {
  double start;  // of the first bin, in pixels of the map
  double bin;    // length of a bin; negative for mirrored RoIs with fixed sampling
  int samples;   // a bin; 0 where nothing is pooled
  int size;      // of the map
};

// How two neighbouring pixels share one sample.
struct Sample {
  int low;          // the other is low + 1
  double fraction;  // share of low + 1; 0 where there is no such pixel
};

ROI_FUNCTION bool is_bounded(double value) { return value > -1e9 && value < 1e9; }

// Level of an RoI as FPN chooses it: floor(log2(sqrt(area) / finest_scale)), in float32 as mmdetection does.
ROI_FUNCTION int level_of(const float *roi, float finest_scale, int levels) {
  if (levels == 1) return 0;
  const float scale = sqrtf((roi[3] - roi[1]) * (roi[4] - roi[2]));
  const float level = floorf(log2f(scale / finest_scale + 1e-6f));
  if (!(level > 0.0f)) return 0;  // NaN too: one side of the box is negative
  return level < static_cast<float>(levels) ? static_cast<int>(level) : levels - 1;
}

// The image of an RoI, or -1 when there is no such image in the batch.
ROI_FUNCTION int image_of(const float *roi, int batch) {
  return roi[0] >= 0.0f && roi[0] < static_cast<float>(batch) ? static_cast<int>(roi[0]) : -1;
}

// The sample count is decided in float32, as in torchvision, so that both take the same; positions are in float64.
ROI_FUNCTION Axis make_axis(float low, float high, const float *settings, int level, int bins, int size) {
  const bool aligned = settings[kAligned] != 0.0f;
  const float stride = settings[kStrides + level];
  const float offset = aligned ? 0.5f : 0.0f;
  float length = (high / stride - offset) - (low / stride - offset);
  const double start = static_cast<double>(low) / stride - offset;
  double exact_length = static_cast<double>(high) / stride - offset - start;
  if (!aligned) {
    length = length > 1.0f ? length : 1.0f;
    exact_length = exact_length > 1.0 ? exact_length : 1.0;
  }
  Axis axis = {start, exact_length / bins, 0, size};
  if (!is_bounded(start) || !is_bounded(exact_length)) return axis;
  const float ratio = settings[kSamplingRatio];
  const float samples = ratio > 0.0f ? ratio : ceilf(length / static_cast<float>(bins));
  if (samples > 0.0f) axis.samples = samples < kMostSamples ? static_cast<int>(samples) : kMostSamples;
  return axis;
}

// Sample `index` of bin `bin`; false where it counts as zero.
ROI_FUNCTION bool find_sample(const Axis &axis, int bin, int index, Sample *sample) {
  const double position = axis.start + bin * axis.bin + (index + 0.5) * axis.bin / axis.samples;
  if (position < -1.0 || position > axis.size) return false;
  sample->low = position > 0.0 ? static_cast<int>(position) : 0;
  sample->fraction = position > 0.0 ? position - sample->low : 0.0;
  if (sample->low >= axis.size - 1) {
    sample->low = axis.size - 1;
    sample->fraction = 0.0;
  }
  return true;
}

// Indices [first, end) of the samples of a bin that may lie in [from, to]; a superset by rounding.
ROI_FUNCTION void samples_between(const Axis &axis, int bin, double from, double to, int *first, int *end) {
  *first = 0;
  *end = axis.samples;
  const double spacing = axis.bin / axis.samples;
  if (axis.samples < 8 || spacing < 1e-3) return;
  const double origin = axis.start + bin * axis.bin;
  const double left = (from - origin) / spacing - 1.5;
  const double right = (to - origin) / spacing + 1.5;
  if (left > 0.0) *first = left < axis.samples ? static_cast<int>(left) : axis.samples;
  if (right < axis.samples) *end = right > 0.0 ? static_cast<int>(right) : 0;
}

// Pixels [first, end) that bins `bin` to `last_bin` may touch: a superset, empty when they touch none.
ROI_FUNCTION void pixel_range(const Axis &axis, int bin, int last_bin, int *first, int *end) {
  *first = *end = 0;
  if (axis.samples == 0) return;
  const double half = 0.5 * axis.bin / axis.samples;
  const double one = axis.start + bin * axis.bin + half, other = axis.start + (last_bin + 1) * axis.bin - half;
  const double low = one < other ? one : other, high = one < other ? other : one;
  const double limit = axis.size + 1.0;  // keeps the conversions to int in range
  if (high < -1.5 || low > limit) return;
  *first = low > 0.0 ? static_cast<int>(low - 1e-6) : 0;
  *end = high < limit ? static_cast<int>(high > 0.0 ? high + 1e-6 : 0.0) + 2 : axis.size;
  if (*first > axis.size - 1) *first = axis.size - 1;
  if (*end > axis.size) *end = axis.size;
}

// Weight of one pixel in the average over one bin.
ROI_FUNCTION double pixel_weight(const Axis &axis, int bin, int pixel) {
  const double left = pixel - 1.0;  // samples up to a pixel outside belong to the first and the last pixel
  const double right = pixel == axis.size - 1 ? axis.size : pixel + 1.0;
  int first, end;
  samples_between(axis, bin, left, right, &first, &end);
  double weight = 0.0;
  Sample sample;
  for (int i = first; i < end; i++) {
    if (!find_sample(axis, bin, i, &sample)) continue;
    if (sample.low == pixel) weight += 1.0 - sample.fraction;
    if (sample.low == pixel - 1) weight += sample.fraction;
  }
  return axis.samples > 0 ? weight / axis.samples : 0.0;
}

}  // namespace roi_align
