// RoIAlign and its gradient on NVIDIA GPUs, as `aot` entries of MindSpore's ops.Custom.
//
//   RoiAlign:      level_0 .. level_{L-1}, rois, settings            -> out
//   RoiAlignGrad:  level_0 .. level_{L-1}, rois, settings, dout      -> gradient of each level
//
// Arrays as in ../cpu/roi_align.cc, in device memory; levels, out, dout and gradients may also be float16 (sums are
// float32). At most kMostBins bins along a side.
//
// Forward: a block pools some channels of one RoI. Its weights go to shared memory once; then vertical sums of the
// feature rows (threads along x: coalesced), then horizontal sums of those. Gradient: a block owns a tile of one
// gradient map and gathers from the RoIs that touch it, in their order: no atomics, and the same result on every run.
#include <cstdint>
#include <cstring>

#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "../roi_align_math.h"

#ifndef ROI_LAUNCH
#define ROI_LAUNCH(kernel, grid, threads, stream) kernel<<<grid, threads, 0, stream>>>
#endif

namespace {

using roi_align::Axis;

constexpr int kMostLevels = 8;
constexpr int kMostBins = 64;
constexpr int kThreads = 256;
constexpr int kWarps = kThreads / 32;
// Of the forward kernel's shared memory; RoIs that need more are pooled sample by sample.
constexpr int kWeights = 1024;  // an axis
constexpr int kSums = 8192;
// Of the gradient kernel: a tile has a thread a pixel, and each thread sums some channels.
constexpr int kTileWidth = 32;
constexpr int kTileHeight = kThreads / kTileWidth;
constexpr int kTileChannels = 16;

template <typename T>
struct Levels {
  const T *features[kMostLevels];
  int heights[kMostLevels], widths[kMostLevels];
  int count, batch, channels;
};

__device__ float to_float(float value) { return value; }
__device__ float to_float(__half value) { return __half2float(value); }
__device__ void assign(float *to, float value) { *to = value; }
__device__ void assign(__half *to, float value) { *to = __float2half(value); }

// The weights of one axis of one RoI: those of bin p are for pixels first[p], first[p] + 1, .. and lie from begin[p].
struct SharedAxis {
  float weights[kWeights];
  int begin[kMostBins + 1], first[kMostBins];
};

// Fills `shared` by the whole block; false where the weights do not fit.
__device__ bool share_axis(const Axis &axis, int bins, SharedAxis *shared) {
  if (threadIdx.x == 0) {
    int total = 0;
    for (int bin = 0; bin < bins; bin++) {
      int end;
      roi_align::pixel_range(axis, bin, bin, &shared->first[bin], &end);
      shared->begin[bin] = total;
      total += end - shared->first[bin];
    }
    shared->begin[bins] = total;
  }
  __syncthreads();
  const bool fits = shared->begin[bins] <= kWeights;
  for (int bin = 0; fits && bin < bins; bin++) {
    const int begin = shared->begin[bin], count = shared->begin[bin + 1] - begin;
    // Offset by bin, so that the threads beyond a short bin take the next one at the same time.
    for (int k = (threadIdx.x + kThreads - begin % kThreads) % kThreads; k < count; k += kThreads) {
      shared->weights[begin + k] = static_cast<float>(roi_align::pixel_weight(axis, bin, shared->first[bin] + k));
    }
  }
  __syncthreads();
  return fits;
}

// One output value, sample by sample.
template <typename T>
__device__ float pool_bin(const T *plane, const Axis &y, const Axis &x, int bin_y, int bin_x) {
  float sum = 0.0f;
  roi_align::Sample row, column;
  for (int i = 0; i < y.samples; i++) {
    if (!roi_align::find_sample(y, bin_y, i, &row)) continue;
    const T *upper = plane + static_cast<int64_t>(row.low) * x.size;
    const T *lower = row.fraction > 0.0 ? upper + x.size : upper;
    const float down = static_cast<float>(row.fraction);
    for (int j = 0; j < x.samples; j++) {
      if (!roi_align::find_sample(x, bin_x, j, &column)) continue;
      const int left = column.low, right = column.fraction > 0.0 ? left + 1 : left;
      const float along = static_cast<float>(column.fraction);
      sum += (1.0f - down) * ((1.0f - along) * to_float(upper[left]) + along * to_float(upper[right])) +
             down * ((1.0f - along) * to_float(lower[left]) + along * to_float(lower[right]));
    }
  }
  const float samples = static_cast<float>(y.samples) * static_cast<float>(x.samples);
  return samples > 0.0f ? sum / samples : 0.0f;
}

// Block (r, g) pools channels [g * channels, (g + 1) * channels) of RoI r.
template <typename T>
__global__ void __launch_bounds__(kThreads)
    pool_kernel(Levels<T> levels, const float *rois, const float *settings, T *out, int bins, int channels) {
  __shared__ SharedAxis shared_y, shared_x;
  __shared__ float sums[kSums];
  const float *roi = rois + 5 * static_cast<int64_t>(blockIdx.x);
  const int first_channel = blockIdx.y * channels;
  const int end_channel = min(first_channel + channels, levels.channels);
  const int area = bins * bins;
  out += static_cast<int64_t>(blockIdx.x) * levels.channels * area;

  const int image = roi_align::image_of(roi, levels.batch);
  if (image < 0) {
    for (int i = first_channel * area + threadIdx.x; i < end_channel * area; i += kThreads) assign(out + i, 0.0f);
    return;
  }
  const int level = roi_align::level_of(roi, settings[roi_align::kFinestScale], levels.count);
  const Axis y = roi_align::make_axis(roi[2], roi[4], settings, level, bins, levels.heights[level]);
  const Axis x = roi_align::make_axis(roi[1], roi[3], settings, level, bins, levels.widths[level]);
  const int64_t plane_size = static_cast<int64_t>(y.size) * x.size;
  const T *planes = levels.features[level] + static_cast<int64_t>(image) * levels.channels * plane_size;

  int first_x, end_x;
  roi_align::pixel_range(x, 0, bins - 1, &first_x, &end_x);
  const int columns = end_x - first_x;
  const bool fits_y = share_axis(y, bins, &shared_y), fits_x = share_axis(x, bins, &shared_x);
  if (!fits_y || !fits_x || columns * bins > kSums) {
    for (int i = first_channel * area + threadIdx.x; i < end_channel * area; i += kThreads) {
      const int bin = i % area;
      assign(out + i, pool_bin(planes + i / area * plane_size, y, x, bin / bins, bin % bins));
    }
    return;
  }

  const int step = columns > 0 ? kSums / (columns * bins) : channels;
  for (int c = first_channel; c < end_channel; c += step) {
    const int rows = min(step, end_channel - c) * bins;  // a row: one vertical bin of one channel
    for (int i = threadIdx.x; i < rows * columns; i += kThreads) {
      const int row = i / columns, bin = row % bins;
      const T *column = planes + (c + row / bins) * plane_size + first_x + i % columns;
      column += static_cast<int64_t>(shared_y.first[bin]) * x.size;
      float sum = 0.0f;
      for (int k = shared_y.begin[bin]; k < shared_y.begin[bin + 1]; k++, column += x.size) {
        sum += shared_y.weights[k] * to_float(*column);
      }
      sums[i] = sum;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < rows * bins; i += kThreads) {
      const int bin = i % bins, begin = shared_x.begin[bin];
      const float *values = sums + i / bins * columns + shared_x.first[bin] - first_x;
      float sum = 0.0f;
      for (int k = begin; k < shared_x.begin[bin + 1]; k++) sum += shared_x.weights[k] * values[k - begin];
      assign(out + static_cast<int64_t>(c) * area + i, sum);
    }
    __syncthreads();
  }
}

// What an RoI contributes to the rows, or the columns, of a tile.
template <int Pixels>
struct TileAxis {
  float weights[kMostBins][Pixels];
  int first[Pixels], end[Pixels];  // bins that touch the pixel
};

// Fills `tile` by the whole block for the pixels from `origin`; the caller synchronizes.
template <int Pixels>
__device__ void weigh_tile(const Axis &axis, int bins, int origin, TileAxis<Pixels> *tile) {
  for (int i = threadIdx.x; i < bins * Pixels; i += kThreads) {
    const int pixel = origin + i % Pixels, bin = i / Pixels;
    const double weight = pixel < axis.size ? roi_align::pixel_weight(axis, bin, pixel) : 0.0;
    tile->weights[bin][i % Pixels] = static_cast<float>(weight);
  }
}

template <int Pixels>
__device__ void find_bins(int bins, int pixel, TileAxis<Pixels> *tile) {
  int first = bins, end = 0;
  for (int bin = 0; bin < bins; bin++) {
    if (tile->weights[bin][pixel] == 0.0f) continue;
    if (first == bins) first = bin;
    end = bin + 1;
  }
  tile->first[pixel] = first;
  tile->end[pixel] = end;
}

// Whether RoI `roi` is pooled on this level and image and touches the tile; its axes.
template <typename T>
__device__ bool touches(const Levels<T> &levels, const float *roi, const float *settings, int level, int image, int bins,
                        int tile_y, int tile_x) {
  if (roi_align::image_of(roi, levels.batch) != image) return false;
  if (roi_align::level_of(roi, settings[roi_align::kFinestScale], levels.count) != level) return false;
  int first, end;
  roi_align::pixel_range(roi_align::make_axis(roi[2], roi[4], settings, level, bins, levels.heights[level]), 0, bins - 1,
                         &first, &end);
  if (end <= tile_y || first >= tile_y + kTileHeight) return false;
  roi_align::pixel_range(roi_align::make_axis(roi[1], roi[3], settings, level, bins, levels.widths[level]), 0, bins - 1,
                         &first, &end);
  return end > tile_x && first < tile_x + kTileWidth;
}

// Appends the threads whose `chosen` is true to `list`, in their order, by the whole block; returns how many.
__device__ int compact(bool chosen, int *list, int *warp_counts) {
  const unsigned votes = __ballot_sync(0xffffffffu, chosen);
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  if (lane == 0) warp_counts[warp] = __popc(votes);
  __syncthreads();
  int before = 0, total = 0;
  for (int w = 0; w < kWarps; w++) {
    if (w == warp) before = total;
    total += warp_counts[w];
  }
  if (chosen) list[before + __popc(votes & ((1u << lane) - 1u))] = threadIdx.x;
  __syncthreads();
  return total;
}

// Block (t, g, b): tile t of the gradient of one level, channels from g * kTileChannels, image b.
template <typename T>
__global__ void __launch_bounds__(kThreads) spread_kernel(Levels<T> levels, const float *rois, const float *settings,
                                                          const T *dout, T *gradient, int level, int count, int bins) {
  __shared__ TileAxis<kTileHeight> tile_rows;
  __shared__ TileAxis<kTileWidth> tile_columns;
  __shared__ int list[kThreads], warp_counts[kWarps];
  const int height = levels.heights[level], width = levels.widths[level];
  const int tiles_x = (width + kTileWidth - 1) / kTileWidth;
  const int tile_y = static_cast<int>(blockIdx.x) / tiles_x * kTileHeight;
  const int tile_x = static_cast<int>(blockIdx.x) % tiles_x * kTileWidth;
  const int row = threadIdx.x / kTileWidth, column = threadIdx.x % kTileWidth;
  const int first_channel = blockIdx.y * kTileChannels;
  const int channels = min(kTileChannels, levels.channels - first_channel), image = blockIdx.z;
  const int area = bins * bins;
  float sums[kTileChannels] = {};

  for (int base = 0; base < count; base += kThreads) {
    const int mine = base + static_cast<int>(threadIdx.x);
    const bool chosen = mine < count && touches(levels, rois + 5 * static_cast<int64_t>(mine), settings, level, image,
                                                bins, tile_y, tile_x);
    const int found = compact(chosen, list, warp_counts);
    for (int i = 0; i < found; i++) {
      const int64_t index = base + list[i];
      const float *roi = rois + 5 * index;
      weigh_tile(roi_align::make_axis(roi[2], roi[4], settings, level, bins, height), bins, tile_y, &tile_rows);
      weigh_tile(roi_align::make_axis(roi[1], roi[3], settings, level, bins, width), bins, tile_x, &tile_columns);
      __syncthreads();
      if (threadIdx.x < kTileHeight) find_bins(bins, threadIdx.x, &tile_rows);
      if (threadIdx.x >= kThreads - kTileWidth) find_bins(bins, kThreads - 1 - threadIdx.x, &tile_columns);
      __syncthreads();
      const T *values = dout + (index * levels.channels + first_channel) * area;
      for (int y = tile_rows.first[row]; y < tile_rows.end[row]; y++) {
        for (int x = tile_columns.first[column]; x < tile_columns.end[column]; x++) {
          const float weight = tile_rows.weights[y][row] * tile_columns.weights[x][column];
          const T *value = values + y * bins + x;
#pragma unroll
          for (int c = 0; c < kTileChannels; c++) {
            if (c < channels) sums[c] += weight * to_float(value[c * area]);
          }
        }
      }
      __syncthreads();  // before the next RoI's weights
    }
  }
  const int y = tile_y + row, x = tile_x + column;
  if (y >= height || x >= width) return;
  T *to = gradient + (static_cast<int64_t>(image) * levels.channels + first_channel) * height * width;
#pragma unroll
  for (int c = 0; c < kTileChannels; c++) {
    if (c < channels) assign(to + (static_cast<int64_t>(c) * height + y) * width + x, sums[c]);
  }
}

// Checks what MindSpore passes and fills `levels`; `pooled` is the index of out or dout.
template <typename T>
bool read_levels(int count, void **params, const int *ndims, int64_t **shapes, const char **dtypes, int pooled,
                 Levels<T> *levels) {
  if (count < 1 || count > kMostLevels) return false;
  for (int i = 0; i < count; i++) {
    const int64_t *shape = shapes[i];
    if (ndims[i] != 4 || shape[0] != shapes[0][0] || shape[1] != shapes[0][1]) return false;
    if (strcmp(dtypes[i], dtypes[0]) != 0 || shape[2] < 1 || shape[3] < 1) return false;
    levels->features[i] = static_cast<const T *>(params[i]);
    levels->heights[i] = static_cast<int>(shape[2]);
    levels->widths[i] = static_cast<int>(shape[3]);
  }
  levels->count = count;
  levels->batch = static_cast<int>(shapes[0][0]);
  levels->channels = static_cast<int>(shapes[0][1]);
  const int64_t *rois = shapes[count], *out = shapes[pooled];
  if (ndims[count] != 2 || rois[1] != 5 || ndims[count + 1] != 1 || shapes[count + 1][0] != 3 + count) return false;
  if (strcmp(dtypes[count], "float32") != 0 || strcmp(dtypes[count + 1], "float32") != 0) return false;
  if (ndims[pooled] != 4 || out[0] != rois[0] || out[1] != shapes[0][1] || out[2] != out[3]) return false;
  return strcmp(dtypes[pooled], dtypes[0]) == 0 && out[2] >= 1 && out[2] <= kMostBins;
}

template <typename T>
int pool(int nparam, void **params, const int *ndims, int64_t **shapes, const char **dtypes, cudaStream_t stream) {
  const int count = nparam - 3;
  Levels<T> levels;
  if (!read_levels(count, params, ndims, shapes, dtypes, nparam - 1, &levels)) return 1;
  const int64_t rois = shapes[count][0];
  if (rois == 0 || levels.channels == 0) return 0;
  // Enough blocks to fill the device several times over, but with channels enough to pay for the weights.
  int channels = static_cast<int>(levels.channels * rois / 4096);
  channels = channels < 16 ? 16 : channels;
  const dim3 grid(static_cast<unsigned>(rois), (levels.channels + channels - 1) / channels);
  ROI_LAUNCH(pool_kernel<T>, grid, kThreads, stream)
  (levels, static_cast<const float *>(params[count]), static_cast<const float *>(params[count + 1]),
   static_cast<T *>(params[count + 2]), static_cast<int>(shapes[nparam - 1][2]), channels);
  return cudaGetLastError() == cudaSuccess ? 0 : 2;
}

template <typename T>
int spread(int nparam, void **params, const int *ndims, int64_t **shapes, const char **dtypes, cudaStream_t stream) {
  const int count = (nparam - 3) / 2, inputs = count + 3;
  Levels<T> levels;
  if (nparam != 2 * count + 3) return 1;
  if (!read_levels(count, params, ndims, shapes, dtypes, inputs - 1, &levels)) return 1;
  if (levels.batch == 0 || levels.channels == 0) return 0;
  for (int i = 0; i < count; i++) {
    const int64_t *shape = shapes[inputs + i];
    if (ndims[inputs + i] != 4 || memcmp(shape, shapes[i], 4 * sizeof(int64_t)) != 0) return 1;
    const int tiles_y = (levels.heights[i] + kTileHeight - 1) / kTileHeight;
    const int tiles_x = (levels.widths[i] + kTileWidth - 1) / kTileWidth;
    const dim3 grid(tiles_y * tiles_x, (levels.channels + kTileChannels - 1) / kTileChannels, levels.batch);
    ROI_LAUNCH(spread_kernel<T>, grid, kThreads, stream)
    (levels, static_cast<const float *>(params[count]), static_cast<const float *>(params[count + 1]),
     static_cast<const T *>(params[count + 2]), static_cast<T *>(params[inputs + i]), i,
     static_cast<int>(shapes[count][0]), static_cast<int>(shapes[inputs - 1][2]));
    if (cudaGetLastError() != cudaSuccess) return 2;
  }
  return 0;
}

}  // namespace

extern "C" int RoiAlign(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *stream,
                        void *) {
  const cudaStream_t on = static_cast<cudaStream_t>(stream);
  if (nparam > 3 && strcmp(dtypes[0], "float32") == 0) return pool<float>(nparam, params, ndims, shapes, dtypes, on);
  if (nparam > 3 && strcmp(dtypes[0], "float16") == 0) return pool<__half>(nparam, params, ndims, shapes, dtypes, on);
  return 1;
}

extern "C" int RoiAlignGrad(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *stream,
                            void *) {
  const cudaStream_t on = static_cast<cudaStream_t>(stream);
  if (nparam > 4 && strcmp(dtypes[0], "float32") == 0) return spread<float>(nparam, params, ndims, shapes, dtypes, on);
  if (nparam > 4 && strcmp(dtypes[0], "float16") == 0) return spread<__half>(nparam, params, ndims, shapes, dtypes, on);
  return 1;
}
