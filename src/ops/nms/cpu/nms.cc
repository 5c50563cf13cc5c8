// Greedy non-maximum suppression within classes, for nms.py, and of all boxes as an `aot` entry of MindSpore's ops.Custom:
//
//   Suppress:  threshold [1], boxes [M,4] sorted, the best first  -> kept [M], 1 or 0

#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "../../arrays.h"

namespace {

// The kept boxes of a class, a column each, so that the compiler can compare several at once.
struct Kept {
  std::vector<float> left, top, right, bottom, area;

  void Add(const float* box, float box_area) {
    left.push_back(box[0]);
    top.push_back(box[1]);
    right.push_back(box[2]);
    bottom.push_back(box[3]);
    area.push_back(box_area);
  }
};

float Area(const float* box) { return (box[2] - box[0]) * (box[3] - box[1]); }

bool Overlaps(const Kept& kept, const float* box, float area, float threshold) {
  // In blocks: one comparison a block decides whether to go on.
  constexpr std::size_t kBlock = 64;
  for (std::size_t start = 0; start < kept.area.size(); start += kBlock) {
    const std::size_t end = std::min(start + kBlock, kept.area.size());
    int found = 0;
    for (std::size_t i = start; i < end; ++i) {
      const float width = std::max(std::min(box[2], kept.right[i]) - std::max(box[0], kept.left[i]), 0.0f);
      const float height = std::max(std::min(box[3], kept.bottom[i]) - std::max(box[1], kept.top[i]), 0.0f);
      const float common = width * height;
      found |= common / std::max(kept.area[i] + area - common, 1e-12f) > threshold;
    }
    if (found) return true;
  }
  return false;
}

}  // namespace

// Rows of the boxes that no kept box before them in their class overlaps by more than `threshold`.
//
// boxes [count, 4], x1 y1 x2 y2, and labels [count] are sorted, the best first. `kept` has room for `max_count` rows;
// returns how many there are.
extern "C" int64_t ClassWiseNms(const float* boxes, const int32_t* labels, int64_t count, float threshold,
                                int64_t max_count, int64_t* kept) {
  std::unordered_map<int32_t, Kept> classes;
  int64_t found = 0;
  for (int64_t row = 0; row < count && found < max_count; ++row) {
    const float* box = boxes + 4 * row;
    const float area = Area(box);
    Kept& own = classes[labels[row]];
    if (Overlaps(own, box, area, threshold)) continue;
    own.Add(box, area);
    kept[found++] = row;
  }
  return found;
}

extern "C" int Suppress(int nparam, void** params, int* ndims, int64_t** shapes, const char** dtypes, void*, void*) {
  const Arrays arrays{nparam, params, ndims, shapes, dtypes};
  if (nparam != 3 || !arrays.has(0, 1) || !arrays.has(1, 2) || !arrays.has(2, 1) || shapes[1][1] != 4) return 1;
  if (!arrays.same(1, 2, 1)) return 1;
  const float threshold = *arrays.floats(0);
  const float* boxes = arrays.floats(1);
  float* result = arrays.floats(2);
  Kept kept;
  for (int64_t row = 0; row < shapes[1][0]; ++row) {
    const float* box = boxes + 4 * row;
    const float area = Area(box);
    const bool dropped = Overlaps(kept, box, area, threshold);
    if (!dropped) kept.Add(box, area);
    result[row] = dropped ? 0.0f : 1.0f;
  }
  return 0;
}
