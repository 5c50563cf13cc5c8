// Greedy non-maximum suppression within classes, for nms.py.

#include <algorithm>
#include <cstdint>
#include <unordered_map>
#include <vector>

namespace {

// The kept boxes of a class, a column each, so that the compiler can compare several at once.
struct Kept {
  std::vector<float> left, top, right, bottom, area;
};

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
    const float area = (box[2] - box[0]) * (box[3] - box[1]);
    Kept& own = classes[labels[row]];
    if (Overlaps(own, box, area, threshold)) continue;
    own.left.push_back(box[0]);
    own.top.push_back(box[1]);
    own.right.push_back(box[2]);
    own.bottom.push_back(box[3]);
    own.area.push_back(area);
    kept[found++] = row;
  }
  return found;
}
