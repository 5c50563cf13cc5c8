// RoIAlign and its gradient on the CPU, as `aot` entries of MindSpore's ops.Custom.
//
//   RoiAlign:      level_0 .. level_{L-1}, rois, settings            -> out
//   RoiAlignGrad:  level_0 .. level_{L-1}, rois, settings, dout      -> gradient of each level
//
// Levels are float32 [B,C,H,W], rois float32 [R,5] (image, x1, y1, x2, y2), settings float32 [3+L] (see Setting), out and
// dout float32 [R,C,bins,bins]. Each RoI is pooled on its own level only. The weights of a RoI are computed once for all
// channels; then a thread owns whole planes, so that the gradient needs no atomics and is the same on every run.
#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "../roi_align_math.h"

namespace {

using roi_align::Axis;
using roi_align::Sample;

struct Tap {
  int32_t pixel;
  float weight;
};

// The pixels and weights of all bins along one axis; those of bin p are taps[begin[p]] to taps[begin[p + 1]].
struct Taps {
  const Tap *taps;
  const int32_t *begin;
  int first, end;  // range of pixels
};

struct RoiTaps {
  Taps x, y;
};

// Working memory of one thread.
struct Scratch {
  float *rows, *columns, *bins, *tiles, *out;
};

namespace portable {
#include "roi_align_simd.h"
}
#if defined(__x86_64__) && !defined(ROI_ALIGN_PORTABLE)
#define ROI_HAS_AVX2 1
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
#include "roi_align_simd.h"
}
#pragma GCC pop_options
#endif

// The inner loops for this processor.
struct Kernels {
  decltype(&portable::pool_roi) pool = portable::pool_roi;
  decltype(&portable::spread_roi) spread = portable::spread_roi;

  Kernels() {
#ifdef ROI_HAS_AVX2
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
      pool = avx2::pool_roi;
      spread = avx2::spread_roi;
    }
#endif
  }
};

const Kernels kernels;

int64_t pad8(int64_t value) { return (value + 7) & ~int64_t{7}; }

struct Level {
  int height, width;
  int64_t plane() const { return static_cast<int64_t>(height) * width; }
};

// What both entries are given.
struct Problem {
  std::vector<Level> levels;
  int batch, channels, bins, count;
  const float *rois, *settings;

  int64_t roi_size() const { return static_cast<int64_t>(channels) * bins * bins; }
};

// Taps of one axis, appended to `taps`; `begin` receives bins + 1 offsets from the first of them.
void append_taps(const Axis &axis, int bins, std::vector<Tap> *taps, int32_t *begin, int *first, int *end) {
  const size_t origin = taps->size();
  *first = axis.size;
  *end = 0;
  std::vector<double> weights;
  for (int bin = 0; bin < bins; bin++) {
    begin[bin] = static_cast<int32_t>(taps->size() - origin);
    const size_t bin_origin = taps->size();
    weights.clear();
    const auto add = [&](int pixel, double weight) {  // samples are in order: a known pixel is one of the last two
      for (size_t back = 1; back <= 2 && back <= weights.size(); back++) {
        if ((*taps)[taps->size() - back].pixel == pixel) {
          weights[weights.size() - back] += weight;
          return;
        }
      }
      taps->push_back({pixel, 0.0f});
      weights.push_back(weight);
      *first = std::min(*first, pixel);
      *end = std::max(*end, pixel + 1);
    };
    Sample sample;
    for (int i = 0; i < axis.samples; i++) {
      if (!roi_align::find_sample(axis, bin, i, &sample)) continue;
      add(sample.low, 1.0 - sample.fraction);
      if (sample.fraction > 0.0) add(sample.low + 1, sample.fraction);
    }
    for (size_t k = 0; k < weights.size(); k++) (*taps)[bin_origin + k].weight = static_cast<float>(weights[k] / axis.samples);
  }
  begin[bins] = static_cast<int32_t>(taps->size() - origin);
  if (*first >= *end) *first = *end = 0;
}

// Which RoIs are pooled on which level of which image, and their weights.
class Plan {
 public:
  explicit Plan(const Problem &problem) : begins_(static_cast<size_t>(problem.count) * 2 * (problem.bins + 1)) {
    buckets_.resize(problem.levels.size() * problem.batch);
    taps_.resize(problem.count);
    const int levels = static_cast<int>(problem.levels.size());
    std::vector<Place> places(problem.count);
    const int threads = std::max(1, std::min(omp_get_max_threads(), problem.count / 16));
    memory_.resize(threads);
#pragma omp parallel num_threads(threads)
    {
      const int thread = omp_get_thread_num();
      std::vector<Tap> &memory = memory_[thread];
#pragma omp for schedule(static)
      for (int r = 0; r < problem.count; r++) {
        const float *roi = problem.rois + 5 * r;
        Place &place = places[r];
        place.thread = thread;
        place.image = roi_align::image_of(roi, problem.batch);
        if (place.image < 0) continue;
        place.level = roi_align::level_of(roi, problem.settings[roi_align::kFinestScale], levels);
        const Level &level = problem.levels[place.level];
        for (int axis = 0; axis < 2; axis++) {
          const int size = axis == 0 ? level.width : level.height;
          const Axis found =
              roi_align::make_axis(roi[1 + axis], roi[3 + axis], problem.settings, place.level, problem.bins, size);
          Taps &taps = axis == 0 ? taps_[r].x : taps_[r].y;
          int32_t *begin = begins_.data() + (2 * static_cast<size_t>(r) + axis) * (problem.bins + 1);
          place.offset[axis] = memory.size();
          append_taps(found, problem.bins, &memory, begin, &taps.first, &taps.end);
          taps.begin = begin;
        }
      }
    }
    for (int r = 0; r < problem.count; r++) {
      const Place &place = places[r];
      if (place.image < 0) {
        unmatched_.push_back(r);
        continue;
      }
      taps_[r].x.taps = memory_[place.thread].data() + place.offset[0];
      taps_[r].y.taps = memory_[place.thread].data() + place.offset[1];
      buckets_[static_cast<size_t>(place.level) * problem.batch + place.image].push_back(r);
    }
  }

  // RoIs of one level and image, in order.
  const std::vector<int> &bucket(size_t index) const { return buckets_[index]; }
  size_t buckets() const { return buckets_.size(); }
  // RoIs of images that the batch does not have.
  const std::vector<int> &unmatched() const { return unmatched_; }
  const RoiTaps &taps(int roi) const { return taps_[roi]; }

 private:
  struct Place {
    int thread = 0, image = -1, level = 0;
    size_t offset[2] = {0, 0};
  };
  std::vector<std::vector<Tap>> memory_;
  std::vector<int32_t> begins_;
  std::vector<RoiTaps> taps_;
  std::vector<std::vector<int>> buckets_;
  std::vector<int> unmatched_;
};

// Channels pooled together, so that their bins fill vectors of 8 rows.
int group_size(int bins) { return std::max(1, 8 / bins); }

// Owns the memory behind a Scratch, and rows for planes whose width is no multiple of 8.
class Workspace {
 public:
  Workspace(const Workspace &) = delete;
  Workspace(Workspace &&) = default;
  explicit Workspace(const Problem &problem) {
    const int group = group_size(problem.bins);
    int64_t columns = 0, plane = 0;
    for (const Level &level : problem.levels) {
      columns = std::max(columns, pad8(level.width));
      plane = std::max(plane, level.height * pad8(level.width));
    }
    const int64_t rows = pad8(static_cast<int64_t>(group) * problem.bins), bins = pad8(problem.bins);
    const int64_t sizes[] = {rows * columns, 8 * columns, 8 * bins, 8 * bins, rows * problem.bins + 8};
    int64_t total = 0;
    for (int64_t size : sizes) total += pad8(size);
    memory_.resize(total);
    float **parts[] = {&scratch.rows, &scratch.columns, &scratch.bins, &scratch.tiles, &scratch.out};
    float *next = memory_.data();
    for (int i = 0; i < 5; i++) {
      *parts[i] = next;
      next += pad8(sizes[i]);
    }
    plane_size_ = plane;
    group_ = group;
  }

  // Room for plane `index` of a group, with rows of pad8(width).
  float *plane(int index) {
    if (planes_.empty()) planes_.resize(plane_size_ * group_);
    return planes_.data() + index * plane_size_;
  }

  Scratch scratch;

 private:
  std::vector<float> memory_, planes_;
  int64_t plane_size_;
  int group_;
};

// Reads the problem from what MindSpore passes; `outputs` are the arrays after the inputs of the entry.
bool read_problem(int inputs, int levels, void **params, const int *ndims, int64_t **shapes, const char **dtypes,
                  int pooled, Problem *problem) {
  if (levels < 1) return false;
  for (int i = 0; i < inputs; i++) {
    if (strcmp(dtypes[i], "float32") != 0) return false;
  }
  for (int i = 0; i < levels; i++) {
    const int64_t *shape = shapes[i];
    if (ndims[i] != 4 || shape[0] != shapes[0][0] || shape[1] != shapes[0][1]) return false;
    if (shape[2] < 1 || shape[3] < 1 || shape[2] > INT32_MAX - 8 || shape[3] > INT32_MAX - 8) return false;
    problem->levels.push_back({static_cast<int>(shape[2]), static_cast<int>(shape[3])});
  }
  const int64_t *rois = shapes[levels], *out = shapes[pooled];
  if (ndims[levels] != 2 || rois[1] != 5 || ndims[levels + 1] != 1 || shapes[levels + 1][0] != 3 + levels) return false;
  if (ndims[pooled] != 4 || out[0] != rois[0] || out[1] != shapes[0][1] || out[2] != out[3] || out[2] < 1) return false;
  problem->batch = static_cast<int>(shapes[0][0]);
  problem->channels = static_cast<int>(shapes[0][1]);
  problem->bins = static_cast<int>(out[2]);
  problem->count = static_cast<int>(rois[0]);
  problem->rois = static_cast<const float *>(params[levels]);
  problem->settings = static_cast<const float *>(params[levels + 1]);
  return true;
}

// A piece of work: some channels of one level of one image and, in the forward pass, some of its RoIs.
struct Task {
  size_t bucket;
  int channel, channels;
  size_t first_roi, end_roi;
};

// Channels in a task: neighbours share cache lines of the output.
constexpr int kTaskChannels = 16;

std::vector<Task> make_tasks(const Problem &problem, const Plan &plan, bool split_rois) {
  std::vector<Task> tasks;
  if (problem.channels == 0) return tasks;
  const size_t per_bucket = (problem.channels + kTaskChannels - 1) / kTaskChannels;
  const size_t wanted = 4 * static_cast<size_t>(omp_get_max_threads());
  for (size_t b = 0; b < plan.buckets(); b++) {
    const size_t rois = plan.bucket(b).size();
    if (split_rois && rois == 0) continue;
    const size_t pieces = split_rois ? std::min(rois, (wanted + per_bucket - 1) / per_bucket) : 1;
    for (int c = 0; c < problem.channels; c += kTaskChannels) {
      const int channels = std::min(kTaskChannels, problem.channels - c);
      for (size_t p = 0; p < pieces; p++) tasks.push_back({b, c, channels, rois * p / pieces, rois * (p + 1) / pieces});
    }
  }
  return tasks;
}

// Copies rows [first, end) of a plane to rows of pad8(width).
void widen(const float *plane, const Level &level, int first, int end, float *to) {
  for (int y = first; y < end; y++) {
    memcpy(to + y * pad8(level.width), plane + static_cast<int64_t>(y) * level.width, sizeof(float) * level.width);
  }
}

void pool_task(const Problem &problem, const Plan &plan, const Task &task, const float *features, float *out,
               Workspace *workspace) {
  const std::vector<int> &rois = plan.bucket(task.bucket);
  const Level &level = problem.levels[task.bucket / problem.batch];
  const int64_t image = task.bucket % problem.batch;
  const int group = group_size(problem.bins);
  for (int c = 0; c < task.channels; c += group) {
    const int channel = task.channel + c, channels = std::min(group, task.channels - c);
    // Vectors may read past the end of a row into what follows, but not past the end of the feature map.
    const int64_t following = (static_cast<int64_t>(problem.batch) - image) * problem.channels - channel - channels;
    const bool copy = level.width % 8 != 0 && following * level.plane() < 8;
    const float *planes[8];
    for (int i = 0; i < channels; i++) {
      planes[i] = features + (image * problem.channels + channel + i) * level.plane();
      if (copy) {
        widen(planes[i], level, 0, level.height, workspace->plane(i));
        planes[i] = workspace->plane(i);
      }
    }
    const int64_t stride = copy ? pad8(level.width) : level.width;
    for (size_t k = task.first_roi; k < task.end_roi; k++) {
      float *to = out + rois[k] * problem.roi_size() + static_cast<int64_t>(channel) * problem.bins * problem.bins;
      kernels.pool(planes, stride, channels, plan.taps(rois[k]), problem.bins, workspace->scratch, to);
    }
  }
}

void spread_task(const Problem &problem, const Plan &plan, const Task &task, const float *dout, float *gradient,
                 Workspace *workspace) {
  const std::vector<int> &rois = plan.bucket(task.bucket);
  const Level &level = problem.levels[task.bucket / problem.batch];
  const int64_t image = task.bucket % problem.batch;
  const int group = group_size(problem.bins);
  for (int c = 0; c < task.channels; c += group) {
    const int channel = task.channel + c, channels = std::min(group, task.channels - c);
    float *first = gradient + (image * problem.channels + channel) * level.plane();
    if (rois.empty()) {
      memset(first, 0, sizeof(float) * channels * level.plane());
      continue;
    }
    const int64_t stride = pad8(level.width);
    const bool copy = stride != level.width;
    float *planes[8];
    for (int i = 0; i < channels; i++) {
      planes[i] = copy ? workspace->plane(i) : first + i * level.plane();
      memset(planes[i], 0, sizeof(float) * stride * level.height);
    }
    for (int roi : rois) {
      const float *from = dout + roi * problem.roi_size() + static_cast<int64_t>(channel) * problem.bins * problem.bins;
      kernels.spread(planes, stride, channels, plan.taps(roi), problem.bins, workspace->scratch, from);
    }
    for (int i = 0; copy && i < channels; i++) {
      for (int y = 0; y < level.height; y++) {
        memcpy(first + i * level.plane() + static_cast<int64_t>(y) * level.width, planes[i] + y * stride,
               sizeof(float) * level.width);
      }
    }
  }
}

// Runs `work` on every task, with a workspace a thread.
template <typename Work>
void run_tasks(const Problem &problem, const std::vector<Task> &tasks, const Work &work) {
  const int64_t count = static_cast<int64_t>(tasks.size());
  const int threads = std::max<int64_t>(1, std::min<int64_t>(omp_get_max_threads(), count));
  std::vector<Workspace> workspaces;
  workspaces.reserve(threads);
  for (int i = 0; i < threads; i++) workspaces.emplace_back(problem);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (int64_t i = 0; i < count; i++) work(tasks[i], &workspaces[omp_get_thread_num()]);
}

}  // namespace

extern "C" int RoiAlign(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  const int levels = nparam - 3;
  Problem problem;
  if (!read_problem(nparam, levels, params, ndims, shapes, dtypes, nparam - 1, &problem)) return 1;
  float *out = static_cast<float *>(params[nparam - 1]);
  const Plan plan(problem);
  for (int roi : plan.unmatched()) memset(out + roi * problem.roi_size(), 0, sizeof(float) * problem.roi_size());
  run_tasks(problem, make_tasks(problem, plan, true), [&](const Task &task, Workspace *workspace) {
    pool_task(problem, plan, task, static_cast<const float *>(params[task.bucket / problem.batch]), out, workspace);
  });
  return 0;
}

extern "C" int RoiAlignGrad(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  const int levels = (nparam - 3) / 2, inputs = levels + 3;
  Problem problem;
  if (nparam != 2 * levels + 3) return 1;
  if (!read_problem(inputs, levels, params, ndims, shapes, dtypes, inputs - 1, &problem)) return 1;
  for (int i = 0; i < levels; i++) {
    const int64_t *shape = shapes[inputs + i];
    if (ndims[inputs + i] != 4 || !std::equal(shape, shape + 4, shapes[i])) return 1;
  }
  const float *dout = static_cast<const float *>(params[inputs - 1]);
  const Plan plan(problem);
  run_tasks(problem, make_tasks(problem, plan, false), [&](const Task &task, Workspace *workspace) {
    float *gradient = static_cast<float *>(params[inputs + task.bucket / problem.batch]);
    spread_task(problem, plan, task, dout, gradient, workspace);
  });
  return 0;
}
