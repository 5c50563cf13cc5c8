// Vectors of AVX-512. Included inside a namespace and a `#pragma GCC target`; vector_avx2.h has the same names.

using Vector = __m512;
constexpr int kLanes = 16;
// The micro-kernel's tile: 8 x 3 accumulators leave registers for a row of the tile's columns and one broadcast.
constexpr int kRows = 8;
constexpr int kVectors = 3;

inline Vector zero() { return _mm512_setzero_ps(); }
inline Vector broadcast(float value) { return _mm512_set1_ps(value); }
inline Vector load(const float *from) { return _mm512_loadu_ps(from); }
inline void store(float *to, Vector v) { _mm512_storeu_ps(to, v); }
inline Vector add(Vector a, Vector b) { return _mm512_add_ps(a, b); }
inline Vector larger(Vector a, Vector b) { return _mm512_max_ps(a, b); }  // `b` where one is not a number
inline Vector multiply_add(Vector a, Vector b, Vector c) { return _mm512_fmadd_ps(a, b, c); }

// Lanes whose bit is not set are zero, and their memory is not touched.
inline Vector load(const float *from, uint32_t bits) { return _mm512_maskz_loadu_ps(static_cast<__mmask16>(bits), from); }
inline void store(float *to, uint32_t bits, Vector v) { _mm512_mask_storeu_ps(to, static_cast<__mmask16>(bits), v); }

// The halves of a vector to two places.
inline void store_halves(float *low, float *high, Vector v) {
  _mm256_storeu_ps(low, _mm512_castps512_ps256(v));
  _mm256_storeu_ps(high, _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(v), 1)));
}

// Lanes 0, 2, 4, .. of `low`, then those of `high`.
inline Vector even_lanes(Vector low, Vector high) {
  const __m512i index = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  return _mm512_permutex2var_ps(low, index, high);
}

// Writes the first COLUMNS columns of 16 rows of 16 floats.
template <int COLUMNS = 16>
inline void transpose_rows(const Vector rows[16], float *to, int64_t to_stride) {
  Vector r[16], t[16];
#pragma GCC unroll 8
  for (int i = 0; i < 16; i += 2) {
    t[i] = _mm512_unpacklo_ps(rows[i], rows[i + 1]);
    t[i + 1] = _mm512_unpackhi_ps(rows[i], rows[i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 16; i += 4) {  // r[i + c]: group g of four lanes holds column 4 g + c of rows i .. i + 3
    const auto wide = [&](int k) __attribute__((always_inline)) { return _mm512_castps_pd(t[i + k]); };
    r[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(wide(0), wide(2)));
    r[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(wide(0), wide(2)));
    r[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(wide(1), wide(3)));
    r[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(wide(1), wide(3)));
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; c++) {  // even and odd groups of rows 0 .. 7 and 8 .. 15
    const Vector top_even = _mm512_shuffle_f32x4(r[c], r[4 + c], 0x88);
    const Vector top_odd = _mm512_shuffle_f32x4(r[c], r[4 + c], 0xdd);
    const Vector bottom_even = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0x88);
    const Vector bottom_odd = _mm512_shuffle_f32x4(r[8 + c], r[12 + c], 0xdd);
    if (c < COLUMNS) store(to + c * to_stride, _mm512_shuffle_f32x4(top_even, bottom_even, 0x88));
    if (4 + c < COLUMNS) store(to + (4 + c) * to_stride, _mm512_shuffle_f32x4(top_odd, bottom_odd, 0x88));
    if (8 + c < COLUMNS) store(to + (8 + c) * to_stride, _mm512_shuffle_f32x4(top_even, bottom_even, 0xdd));
    if (12 + c < COLUMNS) store(to + (12 + c) * to_stride, _mm512_shuffle_f32x4(top_odd, bottom_odd, 0xdd));
  }
}

// Writes 16 rows of 16 floats as columns.
inline void transpose(const float *from, int64_t from_stride, float *to, int64_t to_stride) {
  Vector rows[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++) rows[i] = load(from + i * from_stride);
  transpose_rows(rows, to, to_stride);
}

// Writes the nine floats from each of 16 places as nine vectors.
inline void read_nines(const float *const from[16], float *to) {
  Vector rows[16];
#pragma GCC unroll 16
  for (int i = 0; i < 16; i++) rows[i] = load(from[i], 0x1ff);
  transpose_rows<9>(rows, to, kLanes);
}
