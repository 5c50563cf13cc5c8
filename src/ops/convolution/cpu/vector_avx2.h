// Vectors of AVX2 with FMA. Included inside a namespace and a `#pragma GCC target`; vector_avx512.h has the same names.

using Vector = __m256;
constexpr int kLanes = 8;
// The micro-kernel's tile: 6 x 2 accumulators leave registers for a row of the tile's columns and one broadcast.
constexpr int kRows = 6;
constexpr int kVectors = 2;

inline Vector zero() { return _mm256_setzero_ps(); }
inline Vector broadcast(float value) { return _mm256_set1_ps(value); }
inline Vector load(const float *from) { return _mm256_loadu_ps(from); }
inline void store(float *to, Vector v) { _mm256_storeu_ps(to, v); }
inline Vector add(Vector a, Vector b) { return _mm256_add_ps(a, b); }
inline Vector larger(Vector a, Vector b) { return _mm256_max_ps(a, b); }  // `b` where one is not a number
inline Vector multiply_add(Vector a, Vector b, Vector c) { return _mm256_fmadd_ps(a, b, c); }

// The highest bit of a lane is its bit of `bits`.
inline __m256i lane_mask(uint32_t bits) {
  return _mm256_sllv_epi32(_mm256_set1_epi32(static_cast<int>(bits)), _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24));
}
// Lanes whose bit is not set are zero, and their memory is not touched.
inline Vector load(const float *from, uint32_t bits) { return _mm256_maskload_ps(from, lane_mask(bits)); }
inline void store(float *to, uint32_t bits, Vector v) { _mm256_maskstore_ps(to, lane_mask(bits), v); }

// The halves of a vector to two places.
inline void store_halves(float *low, float *high, Vector v) {
  _mm_storeu_ps(low, _mm256_castps256_ps128(v));
  _mm_storeu_ps(high, _mm256_extractf128_ps(v, 1));
}

// Lanes 0, 2, 4, .. of `low`, then those of `high`.
inline Vector even_lanes(Vector low, Vector high) {
  const __m256d mixed = _mm256_castps_pd(_mm256_shuffle_ps(low, high, 0x88));
  return _mm256_castpd_ps(_mm256_permute4x64_pd(mixed, 0xd8));
}

// Writes 8 rows of 8 floats as columns.
inline void transpose_rows(const Vector rows[8], float *to, int64_t to_stride) { transpose8(rows, to, to_stride); }

// The same of rows in memory.
inline void transpose(const float *from, int64_t from_stride, float *to, int64_t to_stride) {
  __m256 rows[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) rows[i] = load(from + i * from_stride);
  transpose8(rows, to, to_stride);
}

// Writes the nine floats from each of 8 places as nine vectors.
inline void read_nines(const float *const from[8], float *to) {
  __m256 rows[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; i++) rows[i] = load(from[i]);
  transpose8(rows, to, kLanes);
  for (int i = 0; i < 8; i++) to[8 * kLanes + i] = from[i][8];
}
