// Overlaps of priors with objects, boiled down, as `aot` entries of MindSpore's ops.Custom.
//
//   MatchPairs:       settings, boxes, valid, priors, usable -> iou, gt, best_of
//   LargestProducts:  heights, widths -> largest, index
//
// matching.py says what they are. MindSpore's operators make a table of all pairs, a dozen times over; here a block of
// priors meets one object after the other, and padding is left out. Without fused multiply-adds, so that boxes of equal
// sides have equal areas wherever they lie.
#include <omp.h>

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../../arrays.h"

namespace {

constexpr int64_t kBlock = 256;
// Fewer pairs are faster done by one thread.
constexpr int64_t kWorthThreads = 32768;

struct Box {
  float left, top, right, bottom, area;
  explicit Box(const float *box)
      : left(box[0]), top(box[1]), right(box[2]), bottom(box[3]), area((box[2] - box[0]) * (box[3] - box[1])) {}
};

// Up to kBlock priors, a column each; those that are missing or take no part are empty, far away.
struct Block {
  float left[kBlock], top[kBlock], right[kBlock], bottom[kBlock], area[kBlock], iou[kBlock];

  void read(const float *priors, const float *usable, int64_t count) {
    for (int64_t i = 0; i < kBlock; i++) {
      const bool used = i < count && usable[i] > 0.0f;
      const Box box(priors + 4 * (used ? i : 0));
      left[i] = used ? box.left : 0.0f;
      top[i] = used ? box.top : 0.0f;
      right[i] = used ? box.right : -1e30f;
      bottom[i] = used ? box.bottom : -1e30f;
      area[i] = used ? box.area : 0.0f;
    }
  }

  void overlap(const Box &box) {
    for (int64_t i = 0; i < kBlock; i++) {
      const float width = std::max(std::min(right[i], box.right) - std::max(left[i], box.left), 0.0f);
      const float height = std::max(std::min(bottom[i], box.bottom) - std::max(top[i], box.top), 0.0f);
      const float common = width * height;
      iou[i] = common / std::max(area[i] + box.area - common, 1e-6f);
    }
  }
};

// The greatest IoU of an object, and the first prior that has it.
struct Peak {
  float iou = 0.0f;
  int64_t prior = -1;

  void meet(float other, int64_t at) {
    if (other > iou || (other == iou && at < prior)) *this = {other, at};
  }
};

// Of one image: [N,4], [N], [P,4], [P] -> [P] each.
struct Image {
  const float *boxes, *valid, *priors, *usable;
  float *iou;
  int32_t *gt, *best_of;
};

void match(const Image &image, int64_t objects, int64_t priors, float min_pos_iou, bool assign_all) {
  std::vector<int64_t> real;
  for (int64_t n = 0; n < objects; n++) {
    if (image.valid[n] > 0.0f) real.push_back(n);
  }
  const int64_t count = static_cast<int64_t>(real.size()), blocks = (priors + kBlock - 1) / kBlock;
  std::vector<Peak> peaks(count);
#pragma omp parallel if (priors * count > kWorthThreads)
  {
    std::vector<Peak> own(count);
    Block block;
#pragma omp for schedule(static)
    for (int64_t b = 0; b < blocks; b++) {
      const int64_t first = b * kBlock, length = std::min(kBlock, priors - first);
      block.read(image.priors + 4 * first, image.usable + first, length);
      float greatest[kBlock] = {};
      int32_t object[kBlock] = {};
      for (int64_t k = 0; k < count; k++) {
        block.overlap(Box(image.boxes + 4 * real[k]));
        float most = 0.0f;
        for (int64_t i = 0; i < kBlock; i++) most = std::max(most, block.iou[i]);
        if (most == 0.0f) continue;
        const int32_t n = static_cast<int32_t>(real[k]);
        for (int64_t i = 0; i < kBlock; i++) {
          object[i] = block.iou[i] > greatest[i] ? n : object[i];
          greatest[i] = std::max(greatest[i], block.iou[i]);
        }
        if (most >= own[k].iou) own[k].meet(most, first + (std::find(block.iou, block.iou + kBlock, most) - block.iou));
      }
      for (int64_t i = 0; i < length; i++) {
        image.iou[first + i] = image.usable[first + i] > 0.0f ? greatest[i] : -1.0f;
        image.gt[first + i] = object[i];
        image.best_of[first + i] = 0;
      }
    }
#pragma omp critical
    for (int64_t k = 0; k < count; k++) {
      if (own[k].prior >= 0) peaks[k].meet(own[k].iou, own[k].prior);
    }
#pragma omp barrier
    // The last object wins, so objects come in order.
#pragma omp for schedule(static)
    for (int64_t b = 0; b < blocks; b++) {
      const int64_t first = b * kBlock, length = std::min(kBlock, priors - first);
      bool is_read = false;
      for (int64_t k = 0; k < count; k++) {
        const int32_t number = static_cast<int32_t>(real[k] + 1);
        if (peaks[k].prior < 0 || peaks[k].iou < min_pos_iou) continue;
        if (!assign_all) {
          if (peaks[k].prior / kBlock == b) image.best_of[peaks[k].prior] = number;
          continue;
        }
        if (!is_read) block.read(image.priors + 4 * first, image.usable + first, length);
        is_read = true;
        block.overlap(Box(image.boxes + 4 * real[k]));
        for (int64_t i = 0; i < length; i++) {
          if (block.iou[i] == peaks[k].iou) image.best_of[first + i] = number;
        }
      }
    }
  }
}

// Of one row of positions and one anchor: heights [N] and widths [N,C], of which `active` are not zero.
void largest_of_row(const float *heights, const std::vector<int32_t> &active, const float *widths, int64_t columns,
                    float *largest, int32_t *index) {
  std::fill_n(largest, columns, 0.0f);
  std::fill_n(index, columns, 0);
  for (const int32_t n : active) {
    const float height = heights[n], *width = widths + n * columns;
    for (int64_t c = 0; c < columns; c++) {
      const float product = height * width[c];
      index[c] = product > largest[c] ? n : index[c];
      largest[c] = std::max(largest[c], product);
    }
  }
}

}  // namespace

extern "C" int MatchPairs(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *, void *) {
  const Arrays arrays{nparam, params, ndims, shapes, dtypes};
  if (nparam != 8 || !arrays.has(0, 1) || shapes[0][0] != 2 || !arrays.has(1, 3) || !arrays.has(2, 2)) return 1;
  if (!arrays.has(3, 3) || !arrays.has(4, 2) || !arrays.has(5, 2) || !arrays.has(6, 2, "int32") || !arrays.has(7, 2, "int32")) return 1;
  const int64_t batch = shapes[1][0], objects = shapes[1][1], priors = shapes[3][1];
  if (shapes[1][2] != 4 || shapes[3][2] != 4 || shapes[3][0] != batch || !arrays.same(1, 2, 2)) return 1;
  for (int i = 4; i < 8; i++) {
    if (!arrays.same(3, i, 2)) return 1;
  }
  const float *settings = arrays.floats(0);
  for (int64_t b = 0; b < batch; b++) {
    const int64_t object = b * objects, prior = b * priors;
    const Image image{arrays.floats(1) + 4 * object, arrays.floats(2) + object,   arrays.floats(3) + 4 * prior,
                      arrays.floats(4) + prior,      arrays.floats(5) + prior,    arrays.integers(6) + prior,
                      arrays.integers(7) + prior};
    match(image, objects, priors, settings[0], settings[1] > 0.0f);
  }
  return 0;
}

extern "C" int LargestProducts(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *,
                               void *) {
  const Arrays arrays{nparam, params, ndims, shapes, dtypes};
  if (nparam != 4 || !arrays.has(0, 4) || !arrays.has(1, 4) || !arrays.has(2, 2) || !arrays.has(3, 2, "int32")) return 1;
  const int64_t batch = shapes[0][0], rows = shapes[0][1], anchors = shapes[0][2], objects = shapes[0][3];
  const int64_t columns = shapes[1][1], positions = rows * columns * anchors;
  if (shapes[1][0] != batch || shapes[1][2] != anchors || shapes[1][3] != objects) return 1;
  for (int i = 2; i < 4; i++) {
    if (shapes[i][0] != batch || shapes[i][1] != positions) return 1;
  }
  const float *heights = arrays.floats(0), *widths = arrays.floats(1);
  std::vector<float> turned(batch * anchors * objects * columns);  // widths [B,A,N,C]
#pragma omp parallel if (batch * positions > kWorthThreads)
  {
#pragma omp for schedule(static)
    for (int64_t i = 0; i < batch * anchors * objects; i++) {
      const int64_t b = i / (anchors * objects), of_position = i % (anchors * objects);
      const float *from = widths + b * columns * anchors * objects + of_position;
      for (int64_t c = 0; c < columns; c++) turned[i * columns + c] = from[c * anchors * objects];
    }
    std::vector<float> largest(columns);
    std::vector<int32_t> index(columns), active;
#pragma omp for schedule(static)
    for (int64_t row = 0; row < batch * rows; row++) {
      for (int64_t a = 0; a < anchors; a++) {
        const float *height = heights + (row * anchors + a) * objects;
        active.clear();
        for (int64_t n = 0; n < objects; n++) {
          if (height[n] > 0.0f) active.push_back(static_cast<int32_t>(n));
        }
        largest_of_row(height, active, turned.data() + (row / rows * anchors + a) * objects * columns, columns, largest.data(),
                       index.data());
        for (int64_t c = 0; c < columns; c++) {
          arrays.floats(2)[(row * columns + c) * anchors + a] = largest[c];
          arrays.integers(3)[(row * columns + c) * anchors + a] = index[c];
        }
      }
    }
  }
  return 0;
}
