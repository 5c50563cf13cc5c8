// The micro-kernel of matrix products, and the layout of its left side. Included inside a namespace and a
// `#pragma GCC target`, after the vectors.
//
// Left matrices are stored in panels of kRows rows, each [depth][kRows]; right ones in panels of kColumns columns, each
// [depth][kColumns]; sums in tiles [kRows][kColumns].

constexpr int kColumns = kVectors * kLanes;
constexpr int kTile = kRows * kColumns;

template <int VECTORS>
inline void multiply(int64_t depth, const float *left, const float *right, const float *sums, int64_t sums_stride,
                     float *out, int64_t out_stride, int rows, uint32_t last, const Epilogue &epilogue) {
  Vector acc[kRows][VECTORS];
#pragma GCC unroll 8
  for (int i = 0; i < kRows; i++) {
#pragma GCC unroll 3
    for (int j = 0; j < VECTORS; j++) acc[i][j] = zero();
  }
#pragma GCC unroll 1
  for (int64_t k = 0; k < depth; k++) {
    Vector row[VECTORS];
#pragma GCC unroll 3
    for (int j = 0; j < VECTORS; j++) row[j] = load(right + j * kLanes);
#pragma GCC unroll 8
    for (int i = 0; i < kRows; i++) {
      const Vector value = broadcast(left[i]);
#pragma GCC unroll 3
      for (int j = 0; j < VECTORS; j++) acc[i][j] = multiply_add(value, row[j], acc[i][j]);
    }
    left += kRows;
    right += kColumns;
  }
  if (sums) {  // added last, so that long sums round as sums of blocks
#pragma GCC unroll 8
    for (int i = 0; i < kRows; i++) {
#pragma GCC unroll 3
      for (int j = 0; j < VECTORS; j++) acc[i][j] = add(acc[i][j], load(sums + i * sums_stride + j * kLanes));
    }
  }
  const bool whole = last == (1u << kLanes) - 1;
  if (epilogue.any()) {
#pragma GCC unroll 8
    for (int i = 0; i < kRows; i++) {
      if (i < rows) {
        const Vector scale = broadcast(epilogue.scale ? epilogue.scale[i] : 1.0f);
        const Vector shift = broadcast(epilogue.shift ? epilogue.shift[i] : 0.0f);
#pragma GCC unroll 3
        for (int j = 0; j < VECTORS; j++) {
          acc[i][j] = multiply_add(scale, acc[i][j], shift);
          if (epilogue.relu) acc[i][j] = larger(zero(), acc[i][j]);
        }
      }
    }
  }
#pragma GCC unroll 8
  for (int i = 0; i < kRows; i++) {
    if (i < rows) {
      float *to = out + i * out_stride;
#pragma GCC unroll 2
      for (int j = 0; j + 1 < VECTORS; j++) store(to + j * kLanes, acc[i][j]);
      to += (VECTORS - 1) * kLanes;
      if (whole) {
        store(to, acc[i][VECTORS - 1]);
      } else {
        store(to, last, acc[i][VECTORS - 1]);
      }
    }
  }
}

// out[rows][columns] = sums + left panel * right panel; without `sums`: plain product. Only as many rows and columns as
// there are are written; all but the last vector of the columns are computed. The epilogue is that of the tile's first row
// and those after it.
void multiply(int columns, int64_t depth, const float *left, const float *right, const float *sums, int64_t sums_stride,
              float *out, int64_t out_stride, int rows, const Epilogue &epilogue = {}) {
  const int vectors = (columns + kLanes - 1) / kLanes;
  const uint32_t last = ((1u << kLanes) - 1) >> (vectors * kLanes - columns);
  if (vectors == kVectors) {
    multiply<kVectors>(depth, left, right, sums, sums_stride, out, out_stride, rows, last, epilogue);
  } else if (vectors == 2) {
    multiply<2>(depth, left, right, sums, sums_stride, out, out_stride, rows, last, epilogue);
  } else {
    multiply<1>(depth, left, right, sums, sums_stride, out, out_stride, rows, last, epilogue);
  }
}

// Fetches `count` floats that will be read.
inline void prefetch(const float *from, int64_t count) {
  for (int64_t i = 0; i < count + 15; i += 16) __builtin_prefetch(from + i);  // lines that begin before or end after them
}

// One panel of a row-major matrix; rows that are missing become zeros.
void pack_rows(const float *from, int64_t from_stride, int rows, int64_t depth, float *to) {
  int64_t k = 0;
  for (; k + 8 < depth; k += 8) {  // stores may reach into the next place, which is written later
    __m256 block[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; i++) {
      block[i] = i < rows ? _mm256_loadu_ps(from + i * from_stride + k) : _mm256_setzero_ps();
    }
    transpose8(block, to + k * kRows, kRows);
  }
  for (; k < depth; k++) {
    for (int i = 0; i < kRows; i++) to[k * kRows + i] = i < rows ? from[i * from_stride + k] : 0.0f;
  }
}
