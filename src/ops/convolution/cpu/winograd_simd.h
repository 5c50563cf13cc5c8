// 3x3 convolutions of stride 1 by Winograd's minimal filtering, F(4x4, 3x3) (Lavin and Gray, "Fast Algorithms for
// Convolutional Neural Networks", CVPR 2016). Included inside a namespace and a `#pragma GCC target`, after
// convolution_simd.h.
//
// Each tile of 4 x 4 outputs comes from a patch of 6 x 6 inputs: 36 products instead of 144. Patches, weights and sums are
// polynomials' values at six points in either direction, 36 values or `taps` each, and the products of each tap are a
// matrix product over channels: sums[tap][out][tile] = weights[tap][out][in] * patches[tap][in][tile]. The gradient of
// weights sums over tiles instead, with 3 x 3 outputs of 4 x 4 weights, F(3x3, 4x4), which has the same points.
//
// The points are 0, a, -a, b, -b and infinity, with a = 1 / sqrt(2) and b = sqrt(2): rounding errors are a fifth of those
// of the usual 1 and 2. With M(x) = x (x^2 - a^2) (x^2 - b^2), the row of a point p is M(x) / (x - p) for patches, (1, p,
// p^2, ..) / M'(p) for weights, and (1, p, p^2, ..) for the outputs.

constexpr int kPatch = 6, kTileSide = 4, kTaps = kPatch * kPatch;
// Floats between taps: not a multiple of what the first-level cache maps to one place.
constexpr int64_t kTapGap = 16;
// Most tiles of a block, and floats of a tap's patches that stay in the second-level cache beside its weights.
constexpr int64_t kMostColumns = 96;
constexpr int64_t kTapFloats = 16384;
// Of few tiles, and of more weights than the third-level cache holds transformed, threads share rows.
constexpr int64_t kFewTiles = 512, kManyWeights = 16384;
// Then: floats of the patches of a block of tiles, which all threads read; and panels of rows and their depth, whose weights
// and sums stay in the second-level cache.
constexpr int64_t kSharedFloats = int64_t{4} << 20, kRowPanels = 2, kRowDepth = 192;

constexpr float kA = 0.707106781f, kB = 1.41421356f;
constexpr float kA2 = kA * kA, kB2 = kB * kB;
constexpr float kSlope0 = kA2 * kB2, kSlopeA = 2 * kA2 * (kA2 - kB2), kSlopeB = 2 * kB2 * (kB2 - kA2);  // M'(p)

// Values at the six points of a patch's six inputs, in place.
inline void evaluate_patch(Vector d[kPatch]) {
  const Vector a2 = broadcast(kA2), b2 = broadcast(kB2), product = broadcast(kSlope0), sum = broadcast(kA2 + kB2);
  const Vector even_a = d[4] - b2 * d[2], odd_a = broadcast(kA) * (d[3] - b2 * d[1]);
  const Vector even_b = d[4] - a2 * d[2], odd_b = broadcast(kB) * (d[3] - a2 * d[1]);
  d[0] = product * d[0] - sum * d[2] + d[4];
  d[5] = product * d[1] - sum * d[3] + d[5];
  d[1] = even_a + odd_a;
  d[2] = even_a - odd_a;
  d[3] = even_b + odd_b;
  d[4] = even_b - odd_b;
}

// Values at the six points of N weights.
template <int N>
inline void evaluate_weights(const Vector g[N], Vector to[kPatch]) {
  Vector odd_a = g[1], odd_b = g[1];
  if (N == 4) {
    odd_a = odd_a + broadcast(kA2) * g[N - 1];
    odd_b = odd_b + broadcast(kB2) * g[N - 1];
  }
  odd_a = broadcast(kA / kSlopeA) * odd_a;
  odd_b = broadcast(kB / kSlopeB) * odd_b;
  const Vector even_a = broadcast(1 / kSlopeA) * (g[0] + broadcast(kA2) * g[2]);
  const Vector even_b = broadcast(1 / kSlopeB) * (g[0] + broadcast(kB2) * g[2]);
  to[0] = broadcast(1 / kSlope0) * g[0];
  to[1] = even_a + odd_a;
  to[2] = even_a - odd_a;
  to[3] = even_b + odd_b;
  to[4] = even_b - odd_b;
  to[5] = g[N - 1];
}

// N outputs of the products at the six points.
template <int N>
inline void interpolate(const Vector m[kPatch], Vector to[N]) {
  const Vector sum_a = m[1] + m[2], sum_b = m[3] + m[4];
  const Vector odd_a = broadcast(kA) * (m[1] - m[2]), odd_b = broadcast(kB) * (m[3] - m[4]);
  to[0] = m[0] + sum_a + sum_b;
  to[1] = odd_a + odd_b;
  to[2] = broadcast(kA2) * sum_a + broadcast(kB2) * sum_b;
  if (N == 4) to[N - 1] = broadcast(kA2) * odd_a + broadcast(kB2) * odd_b;
  to[N - 1] = to[N - 1] + m[5];
}

template <int SIDE>
inline void evaluate(Vector values[kPatch]) {
  if (SIDE == kPatch) {
    evaluate_patch(values);
  } else {
    const Vector weights[kTileSide] = {values[0], values[1], values[2], values[3]};
    evaluate_weights<kTileSide>(weights, values);
  }
}

// Values at the points of a square in either direction: read(i, j) gives its rows and columns, write(tap, values) gets them.
template <int SIDE, class Read, class Write>
inline void evaluate_square(const Read &read, const Write &write) {
  Vector values[kPatch][kPatch];
#pragma GCC unroll 6
  for (int j = 0; j < SIDE; j++) {
    Vector column[kPatch];
#pragma GCC unroll 6
    for (int i = 0; i < SIDE; i++) column[i] = read(i, j);
    evaluate<SIDE>(column);
#pragma GCC unroll 6
    for (int i = 0; i < kPatch; i++) values[i][j] = column[i];
  }
#pragma GCC unroll 6
  for (int i = 0; i < kPatch; i++) {
    evaluate<SIDE>(values[i]);
#pragma GCC unroll 6
    for (int j = 0; j < kPatch; j++) write(i * kPatch + j, values[i][j]);
  }
}

// Neighbouring tiles of one row of tiles.
struct TileRun {
  int64_t image;
  int y, x, length, at;
};

// The tiles of images [batch][channels][height][width] in order: image, row, column.
struct Tiles {
  int64_t batch, channels;
  int height, width;

  int rows() const { return (height + kTileSide - 1) / kTileSide; }
  int columns() const { return (width + kTileSide - 1) / kTileSide; }
  int64_t count() const { return batch * rows() * columns(); }
  int64_t plane() const { return static_cast<int64_t>(height) * width; }

  std::vector<TileRun> runs(int64_t first, int64_t end) const {
    std::vector<TileRun> found;
    for (int64_t tile = first; tile < end;) {
      const int64_t row = tile / columns();
      const int x = static_cast<int>(tile % columns());
      const int length = static_cast<int>(std::min<int64_t>(columns() - x, end - tile));
      found.push_back({row / rows(), static_cast<int>(row % rows()), x, length, static_cast<int>(tile - first)});
      tile += length;
    }
    return found;
  }
};

// Room for the rows of a run, each as four rows of every fourth pixel, and some vectors beyond.
struct Lines {
  static int64_t stride(int64_t tiles) { return tiles + 2 * kLanes; }
  static int64_t floats(int64_t tiles) { return kPatch * kTileSide * stride(tiles) + kTileSide * stride(tiles); }
};

// Writes pixels 4 x + j of the `count` rows from (y, x) on, zero outside of the plane, to lines[row][j][x].
inline void read_lines(const Tiles &tiles, const float *plane, int y, int x, int length, int count, float *lines,
                       int64_t stride) {
  float *line = lines + kPatch * kTileSide * stride;
  const int pixels = kTileSide * (length + 1);
  const int left = std::max(0, -x), right = std::min(pixels, tiles.width - x);
  for (int i = 0; i < count; i++) {
    float *to = lines + i * kTileSide * stride;
    if (y + i < 0 || y + i >= tiles.height || right <= left) {
      for (int j = 0; j < kTileSide; j++) std::memset(to + j * stride, 0, sizeof(float) * (length + 1));
      continue;
    }
    const float *from = plane + static_cast<int64_t>(y + i) * tiles.width + x;
    for (int k = 0; k < pixels; k += 16) __builtin_prefetch(from + kChannelsAhead * tiles.plane() + k);
    if (left > 0 || right < pixels) {
      for (int k = 0; k < left; k++) line[k] = 0.0f;
      for (int k = right; k < pixels; k++) line[k] = 0.0f;
      std::memcpy(line + left, from + left, sizeof(float) * (right - left));
      from = line;
    }
    for (int t = 0; t <= length; t++) {
      for (int j = 0; j < kTileSide; j++) to[j * stride + t] = from[kTileSide * t + j];
    }
  }
}

// Values at the points of some tiles of one channel: to[tap][tile], `stride` floats apart, and up to a vector beyond. SIDE is
// that of the tiles' squares: 6 the patches that outputs read, 4 the tiles as weights of their patches.
template <int SIDE>
inline void read_tiles(const Tiles &tiles, const std::vector<TileRun> &runs, const float *channel, float *lines,
                         int64_t line, float *to, int64_t stride) {
  for (const TileRun &run : runs) {
    const float *plane = channel + run.image * tiles.channels * tiles.plane();
    constexpr int margin = SIDE == kPatch ? 1 : 0;
    read_lines(tiles, plane, run.y * kTileSide - margin, run.x * kTileSide - margin, run.length, SIDE, lines, line);
    for (int t = 0; t < run.length; t += kLanes) {
      const float *from = lines + t;
      float *at = to + run.at + t;
      const auto read = [=](int i, int j) { return load(from + (i * kTileSide + j % kTileSide) * line + j / kTileSide); };
      const auto write = [=](int tap, Vector values) { store(at + tap * stride, values); };
      evaluate_square<SIDE>(read, write);
    }
  }
}

// The finished outputs of some tiles of one channel, of sums[tap][tile].
inline void write_tiles(const Tiles &tiles, const std::vector<TileRun> &runs, const float *sums, int64_t stride,
                        float *lines, int64_t line, int64_t channel, const Epilogue &epilogue, float *out) {
  for (const TileRun &run : runs) {
    const int x = run.x * kTileSide, pixels = std::min(kTileSide * run.length, tiles.width - x);
    const int rows = std::min(kTileSide, tiles.height - run.y * kTileSide);
    const int64_t first = (run.image * tiles.channels + channel) * tiles.plane() + int64_t{run.y} * kTileSide * tiles.width + x;
    for (int t = 0; t < run.length; t += kLanes) {
      Vector values[kTileSide][kPatch];
#pragma GCC unroll 6
      for (int j = 0; j < kPatch; j++) {
        Vector column[kPatch], result[kTileSide];
#pragma GCC unroll 6
        for (int i = 0; i < kPatch; i++) column[i] = load(sums + (i * kPatch + j) * stride + run.at + t);
        interpolate<kTileSide>(column, result);
#pragma GCC unroll 4
        for (int i = 0; i < kTileSide; i++) values[i][j] = result[i];
      }
#pragma GCC unroll 4
      for (int i = 0; i < kTileSide; i++) {
        Vector result[kTileSide];
        interpolate<kTileSide>(values[i], result);
#pragma GCC unroll 4
        for (int j = 0; j < kTileSide; j++) store(lines + (i * kTileSide + j) * line + t, result[j]);
      }
    }
    for (int i = 0; i < rows; i++) {
      float *to = out + first + i * tiles.width;
      const float *from = lines + i * kTileSide * line;
      const int whole = pixels / kTileSide;
      for (int k = 0; k < whole; k++) {
        for (int j = 0; j < kTileSide; j++) to[kTileSide * k + j] = from[j * line + k];
      }
      for (int j = 0; j < pixels - whole * kTileSide; j++) to[kTileSide * whole + j] = from[j * line + whole];
      if (epilogue.any()) finish(epilogue.from(channel), to, pixels);
    }
  }
}

// The weights of a convolution: of row m and depth k nine taps from weights[m * row + k * step] on, in order, or from the
// last to the first.
struct Weights {
  const float *values;
  int64_t rows, depth, row, step;
  bool turned;

  int64_t panels() const { return ceil_div(rows, kRows); }
};

// The values at the points of panel m of weights, depths [first, end), to [tap][depth][kRows], taps `tap_size` apart.
void transform_panel(const Weights &weights, int64_t m, int64_t first, int64_t end, float *to, int64_t tap_size) {
  constexpr int kSteps = kLanes / kRows;  // depths in a vector
  const int64_t valid = std::min<int64_t>(kRows, weights.rows - m * kRows);
  const float *lanes[kLanes];
  for (int lane = 0; lane < kLanes; lane++) {
    lanes[lane] = weights.values + (m * kRows + std::min<int64_t>(lane % kRows, valid - 1)) * weights.row;
  }
  for (int64_t k = first; k < end; k += kSteps, to += kSteps * kRows) {
    const float *from[kLanes];
#pragma GCC unroll 16
    for (int lane = 0; lane < kLanes; lane++) {
      const int64_t depth = std::min<int64_t>(k + lane / kRows % kSteps, end - 1);
      from[lane] = lanes[lane] + depth * weights.step;
    }
    if (weights.turned) {  // places far apart, which the processor does not foresee
      const float *ahead = lanes[0] + std::min(k + 8, end - 1) * weights.step;
      for (int at = 0; at < kSteps; at++, ahead += weights.step) prefetch(ahead, kRows * 9);
    } else {
      for (int row = 0; row < kRows; row++) __builtin_prefetch(from[row] + 16 * 9);
    }
    alignas(64) float raw[9][kLanes];
    read_nines(from, raw[0]);
    Vector columns[3][kPatch], values[kPatch];
#pragma GCC unroll 3
    for (int j = 0; j < 3; j++) {
      const auto at = [&](int tap) { return load(raw[weights.turned ? 8 - tap : tap]); };
      const Vector g[3] = {at(j), at(3 + j), at(6 + j)};
      evaluate_weights<3>(g, columns[j]);
    }
    const bool whole = (end - k) * kRows >= kLanes;  // lanes past the rows reach into the next place, which is written later
#pragma GCC unroll 6
    for (int i = 0; i < kPatch; i++) {
      const Vector g[3] = {columns[0][i], columns[1][i], columns[2][i]};
      evaluate_weights<3>(g, values);
#pragma GCC unroll 6
      for (int j = 0; j < kPatch; j++) {
        float *at = to + (i * kPatch + j) * tap_size;
        if (whole) {
          store(at, values[j]);
        } else {
          store(at, (1u << kRows) - 1, values[j]);
        }
      }
    }
  }
}

// Panels [tap][panel][depth][kRows] of weights.
void transform_weights(const Weights &weights, float *to) {
  const int64_t tap_size = weights.panels() * kRows * weights.depth + kTapGap;
#pragma omp parallel for schedule(static)
  for (int64_t m = 0; m < weights.panels(); m++) {
    transform_panel(weights, m, 0, weights.depth, to + m * kRows * weights.depth, tap_size);
  }
}

// The patches of some tiles in channel k as row k of panels [tap][panel][depth][kColumns], by way of `slices` and `lines`.
void read_patches(const Tiles &tiles, const std::vector<TileRun> &runs, const float *x, int64_t k, int64_t panels,
                  float *slices, float *lines, int64_t line, float *patches, int64_t patch_tap) {
  const int64_t slice = panels * kColumns + kLanes;
  read_tiles<kPatch>(tiles, runs, x + k * tiles.plane(), lines, line, slices, slice);
  for (int tap = 0; tap < kTaps; tap++) {
    for (int64_t p = 0; p < panels; p++) {
      std::memcpy(patches + tap * patch_tap + (p * tiles.channels + k) * kColumns, slices + tap * slice + p * kColumns,
                  sizeof(float) * kColumns);
    }
  }
}

// out [batch][rows] from x [batch][depth], both of the tiles' size: of many tiles. Threads take blocks of tiles, and all of
// them the same transformed weights.
void convolve_many_tiles(const Tiles &from, const Weights &weights, const float *x, const Epilogue &epilogue, float *out) {
  const int64_t depth = from.channels, count = from.count(), threads = omp_get_max_threads();
  const Tiles into{from.batch, weights.rows, from.height, from.width};
  const int64_t row_panels = weights.panels(), weight_tap = row_panels * kRows * depth + kTapGap;
  float *transformed = weight_buffer().get(kTaps * weight_tap + kLanes);
  transform_weights(weights, transformed);
  const int64_t most = std::max<int64_t>(1, std::min<int64_t>(kTapFloats / depth, kMostColumns) / kColumns) * kColumns;
  const int64_t blocks = ceil_div(ceil_div(count, most), threads) * threads;
  const int64_t columns = ceil_div(ceil_div(count, blocks), kLanes) * kLanes, panels = ceil_div(columns, kColumns);
#pragma omp parallel num_threads(threads)
  {
    static thread_local Buffer buffer;
    const int64_t patch_tap = panels * depth * kColumns + kTapGap, sum_tap = row_panels * kRows * columns + kTapGap;
    const int64_t line = Lines::stride(columns), slice = panels * kColumns + kLanes;
    float *patches = buffer.get(kTaps * (patch_tap + sum_tap + slice) + kLanes + Lines::floats(columns));
    float *sums = patches + kTaps * patch_tap, *slices = sums + kTaps * sum_tap + kLanes, *lines = slices + kTaps * slice;
#pragma omp for schedule(dynamic)
    for (int64_t first = 0; first < count; first += columns) {
      const std::vector<TileRun> runs = from.runs(first, std::min(count, first + columns));
      for (int64_t k = 0; k < depth; k++) read_patches(from, runs, x, k, panels, slices, lines, line, patches, patch_tap);
      for (int tap = 0; tap < kTaps; tap++) {
        for (int64_t m = 0; m < row_panels; m++) {
          for (int64_t p = 0; p < panels; p++) {
            const int used = static_cast<int>(std::min<int64_t>(kColumns, columns - p * kColumns));
            multiply(used, depth, transformed + tap * weight_tap + m * kRows * depth,
                     patches + tap * patch_tap + p * depth * kColumns, nullptr, 0,
                     sums + tap * sum_tap + m * kRows * columns + p * kColumns, columns, kRows);
          }
        }
      }
      for (int64_t row = 0; row < weights.rows; row++) {
        write_tiles(into, runs, sums + row * columns, sum_tap, lines, line, row, epilogue, out);
      }
    }
  }
}

// The same of few tiles or many weights. All threads transform the patches of a block of tiles, then each takes rows, whose
// weights it transforms in its second-level cache: no weight goes through memory transformed.
void convolve_by_rows(const Tiles &from, const Weights &weights, const float *x, const Epilogue &epilogue, float *out) {
  const int64_t depth = from.channels, count = from.count(), threads = omp_get_max_threads();
  const Tiles into{from.batch, weights.rows, from.height, from.width};
  const int64_t row_panels = weights.panels();
  const int64_t most = std::max<int64_t>(kColumns, kSharedFloats / (kTaps * depth) / kLanes * kLanes);
  const int64_t columns = ceil_div(ceil_div(count, ceil_div(count, most)), kLanes) * kLanes;
  const int64_t panels = ceil_div(columns, kColumns), patch_tap = panels * depth * kColumns + kTapGap;
  const int64_t group = row_panels >= 4 * threads * kRowPanels ? kRowPanels : 1;
  const int64_t chunk = std::min<int64_t>(depth, kRowDepth);
  float *patches = weight_buffer().get(kTaps * patch_tap);
#pragma omp parallel num_threads(threads)
  {
    static thread_local Buffer buffer;
    const int64_t sum_tap = group * kRows * columns + kTapGap, weight_tap = group * kRows * chunk + kTapGap;
    const int64_t line = Lines::stride(columns), slice = panels * kColumns + kLanes;
    float *sums = buffer.get(kTaps * (sum_tap + weight_tap + slice) + 2 * kLanes + Lines::floats(columns));
    float *left = sums + kTaps * sum_tap + kLanes, *slices = left + kTaps * weight_tap + kLanes, *lines = slices + kTaps * slice;
    for (int64_t first = 0; first < count; first += columns) {
      const std::vector<TileRun> runs = from.runs(first, std::min(count, first + columns));
#pragma omp for schedule(static)
      for (int64_t k = 0; k < depth; k++) read_patches(from, runs, x, k, panels, slices, lines, line, patches, patch_tap);
#pragma omp for schedule(dynamic)
      for (int64_t first_panel = 0; first_panel < row_panels; first_panel += group) {
        const int64_t end_panel = std::min(row_panels, first_panel + group);
        for (int64_t k = 0; k < depth; k += chunk) {
          const int64_t k_end = std::min(depth, k + chunk);
          for (int64_t m = first_panel; m < end_panel; m++) {
            transform_panel(weights, m, k, k_end, left + (m - first_panel) * kRows * chunk, weight_tap);
          }
          for (int tap = 0; tap < kTaps; tap++) {
            for (int64_t m = 0; m < end_panel - first_panel; m++) {
              for (int64_t p = 0; p < panels; p++) {
                const int used = static_cast<int>(std::min<int64_t>(kColumns, columns - p * kColumns));
                float *sum = sums + tap * sum_tap + m * kRows * columns + p * kColumns;
                multiply(used, k_end - k, left + tap * weight_tap + m * kRows * chunk,
                         patches + tap * patch_tap + (p * depth + k) * kColumns, k ? sum : nullptr, columns, sum, columns, kRows);
              }
            }
          }
        }
        for (int64_t row = first_panel * kRows; row < std::min(weights.rows, end_panel * kRows); row++) {
          write_tiles(into, runs, sums + (row - first_panel * kRows) * columns, sum_tap, lines, line, row, epilogue, out);
        }
      }
    }
  }
}

void convolve_tiles(const Tiles &from, const Weights &weights, const float *x, const Epilogue &epilogue, float *out) {
  if (from.count() <= kFewTiles || weights.rows * weights.depth > kManyWeights) {
    convolve_by_rows(from, weights, x, epilogue, out);
  } else {
    convolve_many_tiles(from, weights, x, epilogue, out);
  }
}

// Tiles that a step of the weights' gradient sums over, and floats that they take.
constexpr int64_t kMostStepTiles = 256, kStepFloats = int64_t{5} << 20;
// Panels of rows whose sums stay in the second-level cache.
constexpr int64_t kGradientPanels = 4;
// Panels of rows in a vector.
constexpr int64_t kVectorPanels = kLanes / kRows;

// Tiles whose pixels stay in the caches between two passes.
constexpr int kPieceTiles = 32;

// Writes `count` rows of `width` pixels from (y, x) on as [row][pixel][channel], zero outside of the planes. `plane` is the
// first of `valid` channels.
inline void read_pixels(const Tiles &tiles, const float *plane, int valid, int y, int x, int count, int width, float *pixels) {
  const int left = std::max(0, -x), right = std::min(width, tiles.width - x);
  for (int i = 0; i < count; i++, pixels += width * kLanes) {
    if (y + i < 0 || y + i >= tiles.height || right <= left) {
      std::memset(pixels, 0, sizeof(float) * width * kLanes);
      continue;
    }
    std::memset(pixels, 0, sizeof(float) * left * kLanes);
    const float *from = plane + static_cast<int64_t>(y + i) * tiles.width + x;
    for (int p = left; p < right; p += kLanes) {  // past the right end what is written later, or not read
      Vector rows[kLanes];
      const uint32_t bits = ((1u << kLanes) - 1) >> std::max(0, p + kLanes - right);
#pragma GCC unroll 16
      for (int lane = 0; lane < kLanes; lane++) {
        rows[lane] = lane < valid ? load(from + lane * tiles.plane() + p, bits) : zero();
        __builtin_prefetch(from + lane * tiles.plane() + p + tiles.width);  // of the next row
      }
      transpose_rows(rows, pixels + p * kLanes, kLanes);
    }
    std::memset(pixels + right * kLanes, 0, sizeof(float) * (width - right) * kLanes);
  }
}

// Values at the points of some tiles, each of `valid` channels from the first on: write(tap, tile, values), which are zero for
// the tiles [count, step). SIDE as in read_tiles.
template <int SIDE, class Write>
inline void read_channels(const Tiles &tiles, const std::vector<TileRun> &runs, const float *images, int64_t first, int valid,
                          int64_t count, int64_t step, float *pixels, const Write &write) {
  constexpr int margin = SIDE == kPatch ? 1 : 0;
  for (const TileRun &run : runs) {
    const float *plane = images + (run.image * tiles.channels + first) * tiles.plane();
    for (int piece = 0; piece < run.length; piece += kPieceTiles) {
      const int length = std::min(kPieceTiles, run.length - piece), width = kTileSide * (length - 1) + SIDE;
      read_pixels(tiles, plane, valid, run.y * kTileSide - margin, (run.x + piece) * kTileSide - margin, SIDE, width, pixels);
      for (int t = 0; t < length; t++) {
        const float *from = pixels + kTileSide * t * kLanes;
        const int64_t tile = run.at + piece + t;
        const auto read = [=](int i, int j) { return load(from + (i * width + j) * kLanes); };
        evaluate_square<SIDE>(read, [&write, tile](int tap, Vector values) { write(tap, tile, values); });
      }
    }
  }
  for (int tap = 0; tap < kTaps; tap++) {
    for (int64_t tile = count; tile < step; tile++) write(tap, tile, zero());
  }
}

// Floats for the pixels of a piece of a run.
constexpr int64_t kPixelFloats = (kPatch * (kTileSide * kPieceTiles + 2) + kLanes) * kLanes;

// The values of `count` tiles in the channels of panel p of columns, as [tap][tile][kColumns]: `step` tiles, of which the
// missing ones are zero. Only the vectors in which there are channels are written.
void read_column_panel(const Tiles &tiles, const std::vector<TileRun> &runs, const float *images, int64_t p, int64_t count,
                       int64_t step, float *pixels, float *to, int64_t tap_size) {
  for (int64_t first = p * kColumns; first < std::min(tiles.channels, (p + 1) * kColumns); first += kLanes, to += kLanes) {
    const int valid = static_cast<int>(std::min<int64_t>(kLanes, tiles.channels - first));
    const auto write = [=](int tap, int64_t tile, Vector values) { store(to + tap * tap_size + tile * kColumns, values); };
    read_channels<kPatch>(tiles, runs, images, first, valid, count, step, pixels, write);
  }
}

// The same of panels of rows, [tap][tile][kRows], of tiles as weights: the panels from the first on whose rows are in one
// vector, `panel` floats apart.
void read_row_panels(const Tiles &tiles, const std::vector<TileRun> &runs, const float *images, int64_t first_panel,
                     int64_t count, int64_t step, float *pixels, float *to, int64_t tap_size, int64_t panel) {
  const int64_t first = first_panel * kRows;
  const int valid = static_cast<int>(std::min<int64_t>(kVectorPanels * kRows, tiles.channels - first));
  const bool several = valid > kRows;
  const auto write = [=](int tap, int64_t tile, Vector values) {
    float *at = to + tap * tap_size + tile * kRows;
    if (several) {
      store_halves(at, at + panel, values);
    } else {
      store(at, (1u << kRows) - 1, values);
    }
  };
  read_channels<kTileSide>(tiles, runs, images, first, valid, count, step, pixels, write);
}

// The 3 x 3 weights of the sums [tap][tile of rows and columns], to `dweights` [rows][columns][9].
void write_weights(const float *sums, int64_t tap_size, int rows, int columns, int64_t row_size, float *dweights) {
  for (int i = 0; i < rows; i++) {
    for (int at = 0; at < columns; at += kLanes) {
      Vector values[3][kPatch];
#pragma GCC unroll 6
      for (int j = 0; j < kPatch; j++) {
        Vector column[kPatch], result[3];
#pragma GCC unroll 6
        for (int k = 0; k < kPatch; k++) column[k] = load(sums + (k * kPatch + j) * tap_size + i * kColumns + at);
        interpolate<3>(column, result);
#pragma GCC unroll 3
        for (int k = 0; k < 3; k++) values[k][j] = result[k];
      }
      float taps[9][kLanes];
#pragma GCC unroll 3
      for (int k = 0; k < 3; k++) {
        Vector result[3];
        interpolate<3>(values[k], result);
#pragma GCC unroll 3
        for (int j = 0; j < 3; j++) store(taps[k * 3 + j], result[j]);
      }
      float *to = dweights + i * row_size + at * 9;
      for (int lane = 0; lane < std::min(kLanes, columns - at); lane++) {
        for (int tap = 0; tap < 9; tap++) to[lane * 9 + tap] = taps[tap][lane];
      }
    }
  }
}

// From how many tiles on the products that are saved outweigh the transformations: measured, with 64 to 720 channels.
constexpr int64_t kFewestTiles = kLanes == 16 ? 16 : 9;
constexpr int64_t kFewestChannels = 16;

bool suits_winograd(const Convolution &c, int64_t fewest_tiles) {
  if (c.kernel_height != 3 || c.kernel_width != 3 || c.stride != 1) return false;
  if (std::min(c.in, c.out) < kFewestChannels) return false;
  return Tiles{c.batch, c.in, c.height, c.width}.count() >= fewest_tiles;
}

void winograd_forward(const Convolution &c, const float *x, const float *weights, const Epilogue &epilogue, float *out) {
  if (!suits_winograd(c, kFewestTiles)) return forward(c, x, weights, epilogue, out);
  convolve_tiles({c.batch, c.in, c.height, c.width}, {weights, c.out, c.in, c.in * 9, 9, false}, x, epilogue, out);
}

void winograd_input_gradient(const Convolution &c, const float *dout, const float *weights, float *dx) {
  if (!suits_winograd(c, kFewestTiles)) return input_gradient(c, dout, weights, dx);
  convolve_tiles({c.batch, c.out, c.height, c.width}, {weights, c.in, c.out, 9, c.in * 9, true}, dout, {}, dx);
}

// Each step transforms its tiles of x and dout, which all threads then multiply. Of one step each thread finishes the weights
// of some rows and columns at a time; of more it takes taps, whose sums all steps add to. No sum depends on the number of
// threads.
void winograd_weight_gradient(const Convolution &c, const float *x, const float *dout, float *dweights) {
  if (!suits_winograd(c, kFewestTiles)) return weight_gradient(c, x, dout, dweights);
  const Tiles from{c.batch, c.in, c.height, c.width}, to{c.batch, c.out, c.height, c.width};
  const int64_t count = from.count(), floats = kTaps * (c.in + c.out), threads = omp_get_max_threads();
  const bool fewer_than_sums = count * (c.in + c.out) <= c.in * c.out;
  const int64_t most = fewer_than_sums ? count : std::clamp<int64_t>(kStepFloats / floats, 64, kMostStepTiles);
  const int64_t steps = ceil_div(count, most), step = ceil_div(ceil_div(count, steps), kLanes) * kLanes;
  const int64_t panels = ceil_div(c.in, kColumns), row_panels = ceil_div(c.out, kRows);
  const int64_t right_panel = step * kColumns, left_panel = step * kRows + kLanes;
  const int64_t right_tap = panels * right_panel + kTapGap, left_tap = row_panels * left_panel + kTapGap;
  // Of one step: panels of rows that a thread multiplies with a tap's columns while these are in its second-level cache.
  const int64_t group = steps > 1 ? row_panels : std::clamp<int64_t>(panels * row_panels / (4 * threads), 1, kGradientPanels);
  const int64_t groups = ceil_div(row_panels, group), sum_tap = (steps > 1 ? panels : 1) * group * kTile + kTapGap;
  static thread_local Buffer shared;
  float *right = shared.get(kTaps * (right_tap + left_tap + (steps > 1 ? sum_tap : 0))), *left = right + kTaps * right_tap;
  float *sums = left + kTaps * left_tap;
  const auto multiply_panels = [&](int64_t tap, int64_t p, int64_t m, const float *before, float *sum) {
    const int columns = static_cast<int>(std::min<int64_t>(kColumns, c.in - p * kColumns));
    multiply(columns, step, left + tap * left_tap + m * left_panel, right + tap * right_tap + p * right_panel, before, kColumns,
             sum, kColumns, kRows);
  };
  const auto write_panels = [&](int64_t p, int64_t m, const float *sum) {
    write_weights(sum, sum_tap, static_cast<int>(std::min<int64_t>(kRows, c.out - m * kRows)),
                  static_cast<int>(std::min<int64_t>(kColumns, c.in - p * kColumns)), c.in * 9,
                  dweights + (m * kRows * c.in + p * kColumns) * 9);
  };
#pragma omp parallel num_threads(threads)
  {
    static thread_local Buffer buffer;
    float *scratch = buffer.get(std::max(kPixelFloats, kTaps * sum_tap));
    for (int64_t tile = 0; tile < count; tile += step) {
      const int64_t end = std::min(count, tile + step);
      const std::vector<TileRun> runs = from.runs(tile, end);
#pragma omp for schedule(dynamic)
      for (int64_t task = 0; task < panels + ceil_div(row_panels, kVectorPanels); task++) {
        if (task < panels) {
          read_column_panel(from, runs, x, task, end - tile, step, scratch, right + task * right_panel, right_tap);
        } else {
          const int64_t m = (task - panels) * kVectorPanels;
          read_row_panels(to, runs, dout, m, end - tile, step, scratch, left + m * left_panel, left_tap, left_panel);
        }
      }
      if (steps == 1) break;
#pragma omp for schedule(dynamic)
      for (int64_t task = 0; task < kTaps * panels; task++) {
        const int64_t tap = task / panels, p = task % panels;
        for (int64_t m = 0; m < row_panels; m++) {
          float *sum = sums + tap * sum_tap + (p * row_panels + m) * kTile;
          multiply_panels(tap, p, m, tile > 0 ? sum : nullptr, sum);
        }
      }
    }
    if (steps > 1) {
#pragma omp for schedule(static)
      for (int64_t m = 0; m < row_panels; m++) {
        for (int64_t p = 0; p < panels; p++) write_panels(p, m, sums + (p * row_panels + m) * kTile);
      }
    } else {
#pragma omp for schedule(dynamic)
      for (int64_t task = 0; task < panels * groups; task++) {
        const int64_t p = task / groups, first = task % groups * group, end = std::min(row_panels, first + group);
        for (int tap = 0; tap < kTaps; tap++) {
          for (int64_t m = first; m < end; m++) {
            multiply_panels(tap, p, m, nullptr, scratch + tap * sum_tap + (m - first) * kTile);
          }
        }
        for (int64_t m = first; m < end; m++) write_panels(p, m, scratch + (m - first) * kTile);
      }
    }
  }
}
