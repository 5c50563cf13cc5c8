// A transposition both vector_avx512.h and vector_avx2.h need. Included inside a namespace and a `#pragma GCC target`.

// Writes 8 rows of 8 floats as columns, in their order: they may overlap.
inline void transpose8(const __m256 rows[8], float *to, int64_t to_stride) {
  __m256 r[8], t[8];
#pragma GCC unroll 4
  for (int i = 0; i < 8; i += 2) {
    t[i] = _mm256_unpacklo_ps(rows[i], rows[i + 1]);
    t[i + 1] = _mm256_unpackhi_ps(rows[i], rows[i + 1]);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {  // r[i + c]: half h holds column 4 h + c of rows i .. i + 3
    const auto wide = [&](int k) __attribute__((always_inline)) { return _mm256_castps_pd(t[i + k]); };
    r[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(wide(0), wide(2)));
    r[i + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(wide(0), wide(2)));
    r[i + 2] = _mm256_castpd_ps(_mm256_unpacklo_pd(wide(1), wide(3)));
    r[i + 3] = _mm256_castpd_ps(_mm256_unpackhi_pd(wide(1), wide(3)));
  }
#pragma GCC unroll 8
  for (int c = 0; c < 8; c++) {
    const __m256 low = r[c % 4], high = r[4 + c % 4];
    _mm256_storeu_ps(to + c * to_stride, c < 4 ? _mm256_permute2f128_ps(low, high, 0x20) : _mm256_permute2f128_ps(low, high, 0x31));
  }
}
