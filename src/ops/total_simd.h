// Sums that are exact to float32's last digits. Included inside a namespace and a `#pragma GCC target`, once for each set of
// instructions: without a guard.

// The sum of value(i) for i < count: in float32 within blocks, by lanes that do not wait for one another, in float64
// over them.
template <typename Value>
double total(int64_t count, const Value &value) {
  constexpr int64_t block = 4096, width = 64;
  double all = 0.0;
  for (int64_t start = 0; start < count; start += block) {
    const int64_t end = std::min(start + block, count);
    float lanes[width] = {};
    int64_t i = start;
    for (; i + width <= end; i += width) {
      for (int64_t lane = 0; lane < width; lane++) lanes[lane] += value(i + lane);
    }
    for (; i < end; i++) lanes[i % width] += value(i);
    all += std::accumulate(lanes, lanes + width, 0.0);
  }
  return all;
}
