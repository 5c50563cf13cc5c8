// Inner loops of RoIAlign on the CPU. Included once an instruction set, into a namespace of its own, because GCC splits
// vectors wider than the target's before it inlines: plain functions only, no templates of the standard library.
//
// A plane is one channel of one feature map, its rows `stride` apart. For one RoI and G channels:
//   forward:  T = Wy F (rows x columns, vectors along x), then Wx on the transposed T (vectors of 8 rows)
//   gradient: the same steps transposed, backwards.
// A "row" is a pair (channel, vertical bin): G * bins of them, padded to whole vectors.

typedef float Vector __attribute__((vector_size(32)));
typedef int Lanes __attribute__((vector_size(32)));

static inline __attribute__((always_inline)) Vector load(const float *from) {
  Vector value;
  __builtin_memcpy(&value, from, sizeof(value));
  return value;
}

static inline __attribute__((always_inline)) void store(float *to, Vector value) {
  __builtin_memcpy(to, &value, sizeof(value));
}

// Transposes 8 x 8 floats: rows `from_stride` apart to rows `to_stride` apart.
static inline __attribute__((always_inline)) void transpose8(const float *from, int64_t from_stride, float *to,
                                                             int64_t to_stride) {
  const Lanes low = {0, 8, 1, 9, 4, 12, 5, 13}, high = {2, 10, 3, 11, 6, 14, 7, 15};
  const Lanes low2 = {0, 1, 8, 9, 4, 5, 12, 13}, high2 = {2, 3, 10, 11, 6, 7, 14, 15};
  const Lanes low4 = {0, 1, 2, 3, 8, 9, 10, 11}, high4 = {4, 5, 6, 7, 12, 13, 14, 15};
  Vector pairs[8], quads[8];
  for (int i = 0; i < 4; i++) {
    const Vector even = load(from + 2 * i * from_stride), odd = load(from + (2 * i + 1) * from_stride);
    pairs[2 * i] = __builtin_shuffle(even, odd, low);
    pairs[2 * i + 1] = __builtin_shuffle(even, odd, high);
  }
  for (int i = 0; i < 2; i++) {
    for (int j = 0; j < 2; j++) {
      const Vector first = pairs[4 * i + j], second = pairs[4 * i + 2 + j];
      quads[4 * i + 2 * j] = __builtin_shuffle(first, second, low2);
      quads[4 * i + 2 * j + 1] = __builtin_shuffle(first, second, high2);
    }
  }
  for (int i = 0; i < 4; i++) {
    store(to + i * to_stride, __builtin_shuffle(quads[i], quads[4 + i], low4));
    store(to + (i + 4) * to_stride, __builtin_shuffle(quads[i], quads[4 + i], high4));
  }
}

// The vertical pass of one channel over N vectors of columns: bins rows of T.
template <int N>
static inline __attribute__((always_inline)) void pool_columns(const float *plane, int64_t stride, const Taps &taps,
                                                               int bins, float *out, int64_t out_stride) {
  for (int bin = 0; bin < bins; bin++) {
    Vector sum[N] = {};
    for (int k = taps.begin[bin]; k < taps.begin[bin + 1]; k++) {
      const float *row = plane + taps.taps[k].pixel * stride;
      const float weight = taps.taps[k].weight;
      for (int n = 0; n < N; n++) sum[n] += weight * load(row + 8 * n);
    }
    for (int n = 0; n < N; n++) store(out + bin * out_stride + 8 * n, sum[n]);
  }
}

// Its gradient: adds to the plane.
template <int N>
static inline __attribute__((always_inline)) void spread_columns(float *plane, int64_t stride, const Taps &taps,
                                                                 int bins, const float *in, int64_t in_stride) {
  for (int bin = 0; bin < bins; bin++) {
    Vector value[N];
    for (int n = 0; n < N; n++) value[n] = load(in + bin * in_stride + 8 * n);
    for (int k = taps.begin[bin]; k < taps.begin[bin + 1]; k++) {
      float *row = plane + taps.taps[k].pixel * stride;
      const float weight = taps.taps[k].weight;
      for (int n = 0; n < N; n++) store(row + 8 * n, load(row + 8 * n) + weight * value[n]);
    }
  }
}

// Pools one RoI on `channels` planes; out is [channels, bins, bins], contiguous.
static void pool_roi(const float *const *planes, int64_t stride, int channels, const RoiTaps &roi, int bins,
                     const Scratch &scratch, float *out) {
  const int rows = channels * bins, first = roi.x.first & ~7;
  const int columns = (roi.x.end - first + 7) & ~7;
  for (int c = 0; c < channels; c++) {
    const float *plane = planes[c] + first;
    float *sums = scratch.rows + static_cast<int64_t>(c) * bins * columns;
    int x = 0;
    for (; x + 32 <= columns; x += 32) pool_columns<4>(plane + x, stride, roi.y, bins, sums + x, columns);
    for (; x + 16 <= columns; x += 16) pool_columns<2>(plane + x, stride, roi.y, bins, sums + x, columns);
    for (; x < columns; x += 8) pool_columns<1>(plane + x, stride, roi.y, bins, sums + x, columns);
  }
  for (int row = 0; row < rows; row += 8) {
    for (int x = 0; x < columns; x += 8) {
      transpose8(scratch.rows + static_cast<int64_t>(row) * columns + x, columns, scratch.columns + 8 * x, 8);
    }
    for (int bin = 0; bin < bins; bin++) {
      Vector sum = {};
      for (int k = roi.x.begin[bin]; k < roi.x.begin[bin + 1]; k++) {
        sum += roi.x.taps[k].weight * load(scratch.columns + 8 * (roi.x.taps[k].pixel - first));
      }
      store(scratch.bins + 8 * bin, sum);
    }
    // Rows are `bins` long but stored as whole vectors: each next store overwrites what the one before wrote too far.
    for (int bin = 0; bin < bins; bin += 8) transpose8(scratch.bins + 8 * bin, 8, scratch.tiles + 8 * bin, 8);
    for (int i = 0; i < 8; i++) {
      float *to = scratch.out + static_cast<int64_t>(row + i) * bins;
      for (int bin = 0; bin < bins; bin += 8) store(to + bin, load(scratch.tiles + 8 * (bin + i)));
    }
  }
  __builtin_memcpy(out, scratch.out, sizeof(float) * rows * bins);
}

// Adds the gradient of one RoI, dout [channels, bins, bins], to `channels` planes.
static void spread_roi(float *const *planes, int64_t stride, int channels, const RoiTaps &roi, int bins,
                       const Scratch &scratch, const float *dout) {
  const int rows = channels * bins, first = roi.x.first & ~7;
  const int columns = (roi.x.end - first + 7) & ~7;
  __builtin_memcpy(scratch.out, dout, sizeof(float) * rows * bins);
  for (int row = 0; row < rows; row += 8) {
    for (int bin = 0; bin < bins; bin += 8) {
      transpose8(scratch.out + static_cast<int64_t>(row) * bins + bin, bins, scratch.bins + 8 * bin, 8);
    }
    __builtin_memset(scratch.columns, 0, sizeof(float) * 8 * columns);
    for (int bin = 0; bin < bins; bin++) {
      const Vector value = load(scratch.bins + 8 * bin);
      for (int k = roi.x.begin[bin]; k < roi.x.begin[bin + 1]; k++) {
        float *to = scratch.columns + 8 * (roi.x.taps[k].pixel - first);
        store(to, load(to) + roi.x.taps[k].weight * value);
      }
    }
    for (int x = 0; x < columns; x += 8) {
      transpose8(scratch.columns + 8 * x, 8, scratch.rows + static_cast<int64_t>(row) * columns + x, columns);
    }
  }
  for (int c = 0; c < channels; c++) {
    float *plane = planes[c] + first;
    const float *values = scratch.rows + static_cast<int64_t>(c) * bins * columns;
    int x = 0;
    for (; x + 32 <= columns; x += 32) spread_columns<4>(plane + x, stride, roi.y, bins, values + x, columns);
    for (; x + 16 <= columns; x += 16) spread_columns<2>(plane + x, stride, roi.y, bins, values + x, columns);
    for (; x < columns; x += 8) spread_columns<1>(plane + x, stride, roi.y, bins, values + x, columns);
  }
}
