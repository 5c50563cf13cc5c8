// Pooling of one plane, for the processor that the including file compiles for. Without a guard: it is included once for
// each.

// Largest of the window's rows in each column: out [pool.width].
inline void column_maxima(const Pool &pool, const float *plane, int64_t row, float *__restrict out) {
  const int64_t start = row * pool.stride - pool.margin;
  const int64_t first = std::max<int64_t>(start, 0), end = std::min(start + pool.kernel, pool.height);
  std::copy_n(plane + first * pool.width, pool.width, out);
  for (int64_t y = first + 1; y < end; y++) {
    const float *__restrict values = plane + y * pool.width;
    for (int64_t x = 0; x < pool.width; x++) out[x] = std::max(out[x], values[x]);
  }
}

template <int K, int S>
void interior_maxima(const float *__restrict columns, int64_t count, float *__restrict out) {
  for (int64_t i = 0; i < count; i++) {
    float best = columns[i * S];
    for (int k = 1; k < K; k++) best = std::max(best, columns[i * S + k]);
    out[i] = best;
  }
}

void pool_plane(const Pool &pool, const float *plane, float *columns, float *out) {
  const auto edge = [&](float *row, int64_t i) {
    const int64_t start = i * pool.stride - pool.margin;
    const int64_t end = std::min(start + pool.kernel, pool.width);
    float best = columns[std::max<int64_t>(start, 0)];
    for (int64_t x = std::max<int64_t>(start, 0) + 1; x < end; x++) best = std::max(best, columns[x]);
    row[i] = best;
  };
  for (int64_t y = 0; y < pool.out_height; y++) {
    float *row = out + y * pool.out_width;
    column_maxima(pool, plane, y, columns);
    for (int64_t i = 0; i < pool.inside_start; i++) edge(row, i);
    const int64_t count = pool.inside_end - pool.inside_start;
    const float *from = columns + pool.inside_start * pool.stride - pool.margin;
    if (pool.kernel == 2 && pool.stride == 2) {
      interior_maxima<2, 2>(from, count, row + pool.inside_start);
    } else if (pool.kernel == 3 && pool.stride == 2) {
      interior_maxima<3, 2>(from, count, row + pool.inside_start);
    } else {
      for (int64_t i = pool.inside_start; i < pool.inside_end; i++) edge(row, i);
    }
    for (int64_t i = pool.inside_end; i < pool.out_width; i++) edge(row, i);
  }
}

// Where the largest values of windows lie, as offsets from their first value; of equal ones the first in reading order.
template <int K, int S>
void interior_places(const float *__restrict values, int64_t width, int64_t count, int32_t *__restrict places) {
  for (int64_t i = 0; i < count; i++) {
    float best = values[i * S];
    int32_t place = 0;
    for (int ky = 0; ky < K; ky++) {
      for (int kx = 0; kx < K; kx++) {
        const float value = values[ky * width + i * S + kx];
        const bool larger = value > best;
        place = larger ? static_cast<int32_t>(ky * width + kx) : place;
        best = larger ? value : best;
      }
    }
    places[i] = place;
  }
}

// Adds the gradients dout of a plane's maxima to dx, which is zero before.
void gradient_plane(const Pool &pool, const float *plane, const float *dout, int32_t *places, float *dx) {
  const auto edge = [&](int64_t y, int64_t i) {
    const int64_t top = y * pool.stride - pool.margin, left = i * pool.stride - pool.margin;
    const int64_t first = std::max<int64_t>(top, 0), start = std::max<int64_t>(left, 0);
    int64_t place = first * pool.width + start;
    for (int64_t v = first; v < std::min(top + pool.kernel, pool.height); v++) {
      for (int64_t u = start; u < std::min(left + pool.kernel, pool.width); u++) {
        if (plane[v * pool.width + u] > plane[place]) place = v * pool.width + u;
      }
    }
    dx[place] += dout[y * pool.out_width + i];
  };
  for (int64_t y = 0; y < pool.out_height; y++) {
    const int64_t top = y * pool.stride - pool.margin;
    const bool whole = top >= 0 && top + pool.kernel <= pool.height;
    const bool known = pool.stride == 2 && (pool.kernel == 2 || pool.kernel == 3);
    const int64_t start = whole && known ? pool.inside_start : 0, end = whole && known ? pool.inside_end : 0;
    for (int64_t i = 0; i < start; i++) edge(y, i);
    if (end > start) {
      const int64_t base = top * pool.width + start * pool.stride - pool.margin;
      if (pool.kernel == 2) {
        interior_places<2, 2>(plane + base, pool.width, end - start, places);
      } else {
        interior_places<3, 2>(plane + base, pool.width, end - start, places);
      }
      for (int64_t i = start; i < end; i++) {
        dx[base + (i - start) * pool.stride + places[i - start]] += dout[y * pool.out_width + i];
      }
    }
    for (int64_t i = end; i < pool.out_width; i++) edge(y, i);
  }
}
