// Convolution and its gradients as products with matrices of patches, which are made tile by tile in the cache. Included
// inside a namespace and a `#pragma GCC target`, after matrix_simd.h and patches_simd.h.

// Rows of patches in a tile, and panels of columns: tile, sums and weights share the second-level cache.
constexpr int64_t kTileDepth = 192;
constexpr int64_t kTileColumns = 288;
constexpr int64_t kPanelStride = kTileDepth * kColumns + kLanes;  // the last row of a panel is written past its end
constexpr int64_t kBlockRows = 256;
// Pixels that a step of the weights' gradient sums over.
constexpr int64_t kStepPixels = 256;
// Floats that the threads' partial sums of weights may take.
constexpr int64_t kMostPartials = int64_t{1} << 24;

// Where the grid of columns lies in the planes of the result.
struct Placement {
  int height, width, stride, y, x;
  int64_t plane() const { return static_cast<int64_t>(height) * width; }
};

// Writes the columns of a panel's tile to their pixels; `to` is the tile's first channel in the first image.
void place_tile(const float *tile, int rows, const std::vector<Run> &runs, int64_t panel, const Placement &placement,
                int64_t channels, float *to) {
  const int64_t plane = placement.plane();
  for (const Run &run : runs) {
    if (run.panel != panel) continue;
    const int64_t y = run.y * placement.stride + placement.y, x = run.x * placement.stride + placement.x;
    float *at = to + run.image * channels * plane + y * placement.width + x;
    for (int i = 0; i < rows; i++) {
      const float *from = tile + i * kColumns + run.at;
      for (int j = 0; j < run.length; j++) at[i * plane + j * placement.stride] = from[j];
    }
  }
}

// out[image][row][pixel] = sum over depth of weights[row][depth] * patches[depth][image, pixel]; the weights in panels; then
// the epilogue.
void correlate(const float *weights, int64_t rows, const Patches &patches, const Placement &placement,
               const Epilogue &epilogue, float *out) {
  const int64_t columns = patches.columns(), depth = patches.rows(), threads = omp_get_max_threads();
  const int64_t panels = ceil_div(columns, kColumns), row_panels = ceil_div(rows, kRows);
  const int64_t tile_panels = std::clamp<int64_t>(panels / (4 * threads), 1, kTileColumns / kColumns);
  const int64_t tiles = ceil_div(panels, tile_panels);
  int64_t blocks = ceil_div(rows, kBlockRows);
  if (tiles * blocks < 2 * threads) blocks = std::min(row_panels, ceil_div(2 * threads, tiles));
  const int64_t block_panels = ceil_div(row_panels, blocks);
  blocks = ceil_div(row_panels, block_panels);
  const int64_t plane = placement.plane();
#pragma omp parallel num_threads(threads)
  {
    static thread_local Buffer buffer;
    const int64_t tile_size = kPanelStride * tile_panels, sums_size = block_panels * tile_panels * kTile;
    float *sums = buffer.get(sums_size + kTile + tile_size), *edge = sums + sums_size, *packed = edge + kTile;
    Columns tile_columns;
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < tiles * blocks; task++) {
      const int64_t first = task / blocks * tile_panels, end = std::min(panels, first + tile_panels);
      const int64_t first_row = task % blocks * block_panels, end_row = std::min(row_panels, first_row + block_panels);
      const int64_t column = first * kColumns;
      tile_columns.set(patches, column, std::min(columns, end * kColumns) - column, kColumns, kPanelStride);
      for (int64_t k = 0; k < depth; k += kTileDepth) {
        const int64_t k_end = std::min(depth, k + kTileDepth);
        tile_columns.read(patches, k, k_end, packed, kColumns);
        for (int64_t p = first; p < end; p++) {
          const float *right = packed + (p - first) * kPanelStride;
          const int count = static_cast<int>(std::min<int64_t>(kColumns, columns - p * kColumns));
          const int64_t image = p * kColumns / patches.grid(), pixel = p * kColumns % patches.grid();
          const bool direct = placement.stride == 1 && pixel + count <= patches.grid();
          for (int64_t m = first_row; m < end_row; m++) {
            float *sum = sums + ((p - first) * block_panels + m - first_row) * kTile;
            const float *left = weights + m * kRows * depth + k * kRows, *before = k ? sum : nullptr;
            const int valid = static_cast<int>(std::min<int64_t>(kRows, rows - m * kRows));
            if (k_end < depth) {
              multiply(kColumns, k_end - k, left, right, before, kColumns, sum, kColumns, kRows);
            } else if (direct) {
              float *to = out + (image * rows + m * kRows) * plane + pixel;
              multiply(count, k_end - k, left, right, before, kColumns, to, plane, valid, epilogue.from(m * kRows));
            } else {
              multiply(kColumns, k_end - k, left, right, before, kColumns, edge, kColumns, valid, epilogue.from(m * kRows));
              place_tile(edge, valid, tile_columns.runs(), p - first, placement, rows, out + m * kRows * plane);
            }
          }
        }
      }
    }
  }
}

// Panels of a row-major matrix.
void pack_matrix(const float *from, int64_t rows, int64_t depth, float *to) {
#pragma omp parallel for schedule(static) if (rows * depth > kWorthThreads)
  for (int64_t m = 0; m < ceil_div(rows, kRows); m++) {
    const int valid = static_cast<int>(std::min<int64_t>(kRows, rows - m * kRows));
    pack_rows(from + m * kRows * depth, depth, valid, depth, to + m * kRows * depth);
  }
}

// Panels whose rows are input channels and whose depth is (output channel, chosen tap), of weights [outs][ins][taps].
void pack_transposed(const float *weights, int64_t outs, int64_t ins, int64_t taps, const std::vector<int> &chosen,
                     float *to) {
  const int64_t depth = outs * static_cast<int64_t>(chosen.size());
#pragma omp parallel for schedule(static) if (ins * depth > kWorthThreads)
  for (int64_t m = 0; m < ceil_div(ins, kRows); m++) {
    const int64_t valid = std::min<int64_t>(kRows, ins - m * kRows);
    float *panel = to + m * kRows * depth;
    for (int64_t o = 0; o < outs; o++) {
      const float *from = weights + (o * ins + m * kRows) * taps;
      if (taps == 1 && valid == kRows) {
        std::memcpy(panel, from, sizeof(float) * kRows);
        panel += kRows;
        continue;
      }
      for (int tap : chosen) {
        for (int i = 0; i < kRows; i++) *panel++ = i < valid ? from[i * taps + tap] : 0.0f;
      }
    }
  }
}

Patches patches_of(const Convolution &c, const float *x) {
  Patches patches{x, c.batch, c.in, c.height, c.width, c.out_height, c.out_width, c.stride, {}};
  for (int ky = 0; ky < c.kernel_height; ky++) {
    for (int kx = 0; kx < c.kernel_width; kx++) patches.taps.push_back({ky - c.kernel_height / 2, kx - c.kernel_width / 2});
  }
  patches.flatten();
  return patches;
}

void forward(const Convolution &c, const float *x, const float *weights, const Epilogue &epilogue, float *out) {
  const Patches patches = patches_of(c, x);
  float *packed = weight_buffer().get(ceil_div(c.out, kRows) * kRows * patches.rows());
  pack_matrix(weights, c.out, patches.rows(), packed);
  correlate(packed, c.out, patches, {patches.grid_height, patches.grid_width, 1, 0, 0}, epilogue, out);
}

// Pixels of dx whose coordinates have equal remainders by the stride see the same taps: each such grid is a convolution
// of dout of its own.
void input_gradient(const Convolution &c, const float *dout, const float *weights, float *dx) {
  const int taps = c.kernel_height * c.kernel_width;
  if (c.kernel_height < c.stride || c.kernel_width < c.stride) {
    std::memset(dx, 0, sizeof(float) * c.batch * c.in * c.height * c.width);
  }
  for (int phase = 0; phase < c.stride * c.stride; phase++) {
    const int py = phase / c.stride, px = phase % c.stride;
    if (py >= c.height || px >= c.width) continue;
    const int grid_height = (c.height - py + c.stride - 1) / c.stride, grid_width = (c.width - px + c.stride - 1) / c.stride;
    Patches patches{dout, c.batch, c.out, c.out_height, c.out_width, grid_height, grid_width, 1, {}};
    std::vector<int> chosen;
    for (int tap = 0; tap < taps; tap++) {
      const int y = py + c.kernel_height / 2 - tap / c.kernel_width, x = px + c.kernel_width / 2 - tap % c.kernel_width;
      if (y % c.stride != 0 || x % c.stride != 0) continue;
      chosen.push_back(tap);
      patches.taps.push_back({y / c.stride, x / c.stride});
    }
    if (chosen.empty()) continue;
    Placement placement{c.height, c.width, c.stride, py, px};
    if (c.stride == 1) {
      patches.flatten();
      placement = {patches.grid_height, patches.grid_width, 1, 0, 0};
    }
    float *packed = weight_buffer().get(ceil_div(c.in, kRows) * kRows * patches.rows());
    pack_transposed(weights, c.out, c.in, taps, chosen, packed);
    correlate(packed, c.in, patches, placement, {}, dx);
  }
}

// The sum over pixels of dout[out][pixel] * patches[in, tap][pixel]. Each part of the pixels has sums of its own, which
// are added in order, so that equal numbers of threads give equal results.
void weight_gradient(const Convolution &c, const float *x, const float *dout, float *dweights) {
  const Patches patches = patches_of(c, x);
  Patches gradients{dout, c.batch, c.out, c.out_height, c.out_width, c.out_height, c.out_width, 1, {{0, 0}}};
  gradients.flatten();
  const int64_t columns = patches.rows(), pixels = patches.columns(), threads = omp_get_max_threads();
  const int64_t panels = ceil_div(columns, kColumns), row_panels = ceil_div(c.out, kRows);
  const int64_t steps = ceil_div(pixels, kStepPixels), size = panels * row_panels * kTile;
  // Few pixels do not divide evenly among threads; columns do, at the price of packing dout more often.
  const bool by_columns = steps < 8 * threads && panels >= 4 * threads;
  const int64_t parts = by_columns ? 1 : std::max<int64_t>(1, std::min({threads, steps, kMostPartials / size}));
  const int64_t splits = by_columns ? std::clamp(panels / 8, threads, 4 * threads) : std::min(panels, ceil_div(threads, parts));
  static thread_local Buffer partial_buffer;
  float *partial = partial_buffer.get(parts * size);
#pragma omp parallel for schedule(dynamic) num_threads(threads)
  for (int64_t task = 0; task < parts * splits; task++) {
    static thread_local Buffer buffer;
    const int64_t part = task % parts, split = task / parts;
    const int64_t first_panel = panels * split / splits, end_panel = panels * (split + 1) / splits;
    const int64_t first_step = steps * part / parts, end_step = steps * (part + 1) / parts;
    const int64_t line = kStepPixels + 2 * kLanes, left_size = row_panels * kRows * kStepPixels;
    float *right = buffer.get(kStepPixels * kColumns + left_size + kLanes * line);
    float *left = right + kStepPixels * kColumns, *lines = left + left_size;
    std::memset(lines, 0, sizeof(float) * kLanes * line);
    Columns patch_columns, gradient_columns;
    for (int64_t step = first_step; step < end_step; step++) {
      const int64_t pixel = step * kStepPixels, count = std::min(kStepPixels, pixels - pixel);
      patch_columns.set(patches, pixel, count, kStepPixels, 0);
      gradient_columns.set(gradients, pixel, count, kStepPixels, 0);
      for (int64_t m = 0; m < row_panels; m++) {
        const int64_t valid = std::min<int64_t>(kRows, c.out - m * kRows);
        gradient_columns.read(gradients, m * kRows, m * kRows + valid, lines, line);
        pack_rows(lines, line, static_cast<int>(valid), count, left + m * kRows * kStepPixels);
      }
      for (int64_t p = first_panel; p < end_panel; p++) {
        const int64_t used = std::min<int64_t>(kColumns, columns - p * kColumns);
        for (int64_t at = 0; at < used; at += kLanes) {
          const int64_t row = p * kColumns + at;
          patch_columns.read(patches, row, std::min<int64_t>(row + kLanes, columns), lines, line);
          for (int64_t k = 0; k < count; k += kLanes) transpose(lines + k, line, right + k * kColumns + at, kColumns);
        }
        for (int64_t m = 0; m < row_panels; m++) {
          float *sum = partial + part * size + (p * row_panels + m) * kTile;
          multiply(static_cast<int>(used), count, left + m * kRows * kStepPixels, right,
                   step > first_step ? sum : nullptr, kColumns, sum, kColumns, kRows);
        }
      }
    }
  }
#pragma omp parallel for schedule(static) num_threads(threads)
  for (int64_t row = 0; row < c.out; row++) {
    for (int64_t column = 0; column < columns; column++) {
      const int64_t tile = (column / kColumns * row_panels + row / kRows) * kTile;
      const float *from = partial + tile + row % kRows * kColumns + column % kColumns;
      float sum = *from;
      for (int64_t part = 1; part < parts; part++) sum += from[part * size];
      dweights[row * columns + column] = sum;
    }
  }
}
