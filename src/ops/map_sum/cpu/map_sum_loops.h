// Sums of one plane, for the processor that the including file compiles for. Without a guard: it is included once for
// each. `row` is scratch of sizes.columns * sizes.factor values, where the factor is not 1.

template <int F>
void repeat_by(const float *__restrict from, int64_t count, float *__restrict to) {
  for (int64_t i = 0; i < count; i++) {
    for (int k = 0; k < F; k++) to[i * F + k] = from[i];
  }
}

// Each of `count` values `factor` times.
inline void repeat(const float *from, int64_t count, int64_t factor, float *to) {
  if (factor == 2) return repeat_by<2>(from, count, to);
  if (factor == 4) return repeat_by<4>(from, count, to);
  if (factor == 8) return repeat_by<8>(from, count, to);
  for (int64_t i = 0; i < count; i++) std::fill_n(to + i * factor, factor, from[i]);
}

template <int F>
void join_by(const float *__restrict from, int64_t count, float *__restrict to) {
  for (int64_t i = 0; i < count; i++) {
    float sum = from[i * F];
    for (int k = 1; k < F; k++) sum += from[i * F + k];
    to[i] = sum;
  }
}

// `count` sums of `factor` neighbors each.
inline void join(const float *from, int64_t count, int64_t factor, float *to) {
  if (factor == 2) return join_by<2>(from, count, to);
  if (factor == 4) return join_by<4>(from, count, to);
  if (factor == 8) return join_by<8>(from, count, to);
  for (int64_t i = 0; i < count; i++) to[i] = std::accumulate(from + i * factor, from + (i + 1) * factor, 0.0f);
}

template <bool kRelu>
void add(const float *__restrict a, const float *__restrict b, float scale, int64_t count, float *__restrict out) {
  for (int64_t i = 0; i < count; i++) {
    const float sum = a[i] + scale * b[i];
    out[i] = kRelu && 0.0f > sum ? 0.0f : sum;  // a sum that is no number stays none
  }
}

// out = a + scale * repeated b.
template <bool kRelu>
void sum_plane(const Sizes &sizes, const float *a, const float *b, float scale, float *row, float *out) {
  if (sizes.factor == 1) return add<kRelu>(a, b, scale, sizes.height * sizes.width, out);
  for (int64_t y = 0; y < sizes.height; y++) {
    if (y % sizes.factor == 0) repeat(b + y / sizes.factor * sizes.columns, sizes.columns, sizes.factor, row);
    add<kRelu>(a + y * sizes.width, row, scale, sizes.width, out + y * sizes.width);
  }
}

inline void relu_gradient(const float *__restrict dout, const float *__restrict out, int64_t count,
                          float *__restrict d) {
  for (int64_t i = 0; i < count; i++) d[i] = out[i] > 0.0f ? dout[i] : 0.0f;
}

// db = sums of d over what each pixel of b was repeated to.
inline void block_sums(const Sizes &sizes, const float *d, float *__restrict row, float *db) {
  const int64_t width = sizes.width, factor = sizes.factor;
  if (factor == 1) {
    std::copy_n(d, sizes.height * width, db);
    return;
  }
  std::fill(row + width, row + sizes.columns * factor, 0.0f);  // what was cut off
  for (int64_t y = 0; y < sizes.height; y += factor) {
    std::copy_n(d + y * width, width, row);
    for (int64_t next = y + 1; next < std::min(y + factor, sizes.height); next++) {
      const float *__restrict values = d + next * width;
      for (int64_t x = 0; x < width; x++) row[x] += values[x];
    }
    join(row, sizes.columns, factor, db + y / factor * sizes.columns);
  }
}

// The sum with b scaled by the attention, which it returns: the sigmoid of a's mean.
template <bool kRelu>
float attention_plane(const Sizes &sizes, const float *a, const float *b, float *row, float *out) {
  const int64_t count = sizes.height * sizes.width;
  const double mean = total(count, [a](int64_t i) { return a[i]; }) / static_cast<double>(count);
  const float attention = static_cast<float>(1.0 / (1.0 + std::exp(-mean)));
  sum_plane<kRelu>(sizes, a, b, attention, row, out);
  return attention;
}

// From the gradient d of the sum, which may lie in da.
inline void attention_gradient(const Sizes &sizes, const float *d, const float *b, float attention, float *row,
                               float *da, float *db) {
  const int64_t count = sizes.height * sizes.width, coarse = sizes.rows * sizes.columns;
  block_sums(sizes, d, row, db);
  const double of_attention = total(coarse, [b, db](int64_t i) { return b[i] * db[i]; });
  const double of_mean = of_attention * attention * (1.0 - attention);
  const float share = static_cast<float>(of_mean / static_cast<double>(count));
#pragma omp simd
  for (int64_t i = 0; i < count; i++) da[i] = d[i] + share;
  for (int64_t i = 0; i < coarse; i++) db[i] *= attention;
}
