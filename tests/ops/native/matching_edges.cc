// Matches random priors and objects in arrays of exactly their size, against plain loops; shapes that do not fit are refused.
#include <cstdio>
#include <random>

#include "matching.cc"

namespace {

using Values = std::vector<float>;

struct Arguments {
  std::vector<void *> params;
  std::vector<int> ndims;
  std::vector<std::vector<int64_t>> shapes;
  std::vector<const char *> dtypes;

  template <typename T>
  void add(std::vector<T> &values, std::vector<int64_t> shape, const char *type) {
    params.push_back(values.data());
    ndims.push_back(static_cast<int>(shape.size()));
    shapes.push_back(shape);
    dtypes.push_back(type);
  }

  int call(int (*entry)(int, void **, int *, int64_t **, const char **, void *, void *)) {
    std::vector<int64_t *> pointers;
    for (auto &shape : shapes) pointers.push_back(shape.data());
    return entry(static_cast<int>(params.size()), params.data(), ndims.data(), pointers.data(), dtypes.data(), nullptr, nullptr);
  }
};

float iou(const float *a, const float *b) {
  const float width = std::max(std::min(a[2], b[2]) - std::max(a[0], b[0]), 0.0f);
  const float height = std::max(std::min(a[3], b[3]) - std::max(a[1], b[1]), 0.0f);
  const float common = width * height, areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]);
  return common / std::max(areas - common, 1e-6f);
}

void fill_boxes(std::mt19937 &random, Values &boxes) {
  for (size_t i = 0; i < boxes.size(); i += 4) {
    for (int k = 0; k < 2; k++) {  // whole numbers, so that many tie
      boxes[i + k] = static_cast<float>(random() % 50);
      boxes[i + 2 + k] = boxes[i + k] + static_cast<float>(1 + random() % 20);
    }
  }
}

bool match_pairs(int64_t batch, int64_t objects, int64_t priors, bool assign_all) {
  std::mt19937 random(7);
  const float least = 0.1f;
  Values settings{least, assign_all ? 1.0f : 0.0f}, boxes(batch * objects * 4), valid(batch * objects), others(batch * priors * 4);
  Values usable(batch * priors), greatest(batch * priors);
  std::vector<int32_t> gt(batch * priors), best_of(batch * priors);
  fill_boxes(random, boxes);
  fill_boxes(random, others);
  for (float &v : valid) v = static_cast<float>(random() % 3 > 0);
  for (float &v : usable) v = static_cast<float>(random() % 5 > 0);
  Arguments arguments;
  arguments.add(settings, {2}, "float32");
  arguments.add(boxes, {batch, objects, 4}, "float32");
  arguments.add(valid, {batch, objects}, "float32");
  arguments.add(others, {batch, priors, 4}, "float32");
  arguments.add(usable, {batch, priors}, "float32");
  arguments.add(greatest, {batch, priors}, "float32");
  arguments.add(gt, {batch, priors}, "int32");
  arguments.add(best_of, {batch, priors}, "int32");
  if (arguments.call(MatchPairs) != 0) return false;
  for (int64_t b = 0; b < batch; b++) {
    std::vector<int32_t> best(priors);
    for (int64_t n = 0; n < objects; n++) {
      float peak = 0.0f;
      const auto of = [&](int64_t p) {
        if (usable[b * priors + p] == 0.0f || valid[b * objects + n] == 0.0f) return 0.0f;
        return iou(&others[(b * priors + p) * 4], &boxes[(b * objects + n) * 4]);
      };
      for (int64_t p = 0; p < priors; p++) peak = std::max(peak, of(p));
      if (peak == 0.0f || peak < least) continue;
      for (int64_t p = 0; p < priors; p++) {
        if (of(p) != peak) continue;
        best[p] = static_cast<int32_t>(n + 1);
        if (!assign_all) break;
      }
    }
    for (int64_t p = 0; p < priors; p++) {
      float most = usable[b * priors + p] > 0.0f ? 0.0f : -1.0f;
      int32_t object = 0;
      for (int64_t n = 0; n < objects; n++) {
        const float value = valid[b * objects + n] * iou(&others[(b * priors + p) * 4], &boxes[(b * objects + n) * 4]);
        if (most < 0.0f || value <= most) continue;
        most = value;
        object = static_cast<int32_t>(n);
      }
      const int64_t at = b * priors + p;
      if (greatest[at] != most || gt[at] != object || best_of[at] != best[p]) return false;
    }
  }
  arguments.shapes[4][1]++;
  return arguments.call(MatchPairs) != 0;
}

bool find_largest(int64_t batch, int64_t rows, int64_t columns, int64_t anchors, int64_t objects) {
  std::mt19937 random(3);
  Values heights(batch * rows * anchors * objects), widths(batch * columns * anchors * objects);
  Values largest(batch * rows * columns * anchors);
  std::vector<int32_t> index(largest.size());
  for (float &v : heights) v = static_cast<float>(random() % 4);
  for (float &v : widths) v = static_cast<float>(random() % 4);
  Arguments arguments;
  arguments.add(heights, {batch, rows, anchors, objects}, "float32");
  arguments.add(widths, {batch, columns, anchors, objects}, "float32");
  arguments.add(largest, {batch, rows * columns * anchors}, "float32");
  arguments.add(index, {batch, rows * columns * anchors}, "int32");
  if (arguments.call(LargestProducts) != 0) return false;
  for (int64_t i = 0; i < static_cast<int64_t>(largest.size()); i++) {
    const int64_t a = i % anchors, c = i / anchors % columns, r = i / anchors / columns % rows, b = i / anchors / columns / rows;
    float most = 0.0f;
    int32_t place = 0;
    for (int64_t n = 0; n < objects; n++) {
      const float value = heights[((b * rows + r) * anchors + a) * objects + n] * widths[((b * columns + c) * anchors + a) * objects + n];
      if (value > most) place = static_cast<int32_t>(n);
      most = std::max(most, value);
    }
    if (largest[i] != most || index[i] != place) return false;
  }
  arguments.shapes[1][3]++;
  return arguments.call(LargestProducts) != 0;
}

}  // namespace

int main() {
  bool right = true;
  for (int64_t priors : {1, 255, 256, 257, 5000}) {
    for (int64_t objects : {1, 2, 19}) {
      for (bool assign_all : {true, false}) right &= match_pairs(2, objects, priors, assign_all);
    }
  }
  right &= find_largest(1, 1, 1, 1, 1) && find_largest(2, 3, 5, 3, 4) && find_largest(1, 101, 130, 3, 7);
  std::puts(right ? "all right" : "wrong");
  return right ? 0 : 1;
}
