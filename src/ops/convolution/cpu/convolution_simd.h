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

// The left side of a product: weights, of which panels are packed as they are asked for. Of the gradient of inputs,
// `turned`, rows are input channels and the depth is (output channel, chosen tap) of weights [outs][ins][taps].
struct LeftSide {
  const float *values;
  int64_t rows, depth, taps;
  std::vector<int> chosen;
  bool turned;

  int64_t panels() const { return ceil_div(rows, kRows); }

  // Depths that are packed at a time: whole output channels, where it is turned.
  int64_t step() const { return turned ? std::max<int64_t>(1, kTileDepth / chosen_count()) * chosen_count() : kTileDepth; }

  // Depths [k, end) of panel m, as [depth][kRows].
  void pack(int64_t m, int64_t k, int64_t end, float *to) const {
    const int valid = static_cast<int>(std::min<int64_t>(kRows, rows - m * kRows));
    if (!turned) {
      const float *from = values + m * kRows * depth + k;
      for (int64_t i = 0; i < end - k; i += 16) {  // of the next panel
        for (int64_t row = kRows; row < 2 * kRows; row++) __builtin_prefetch(from + row * depth + i);
      }
      return pack_rows(from, depth, valid, end - k, to);
    }
    const int64_t first = k / chosen_count(), last = end / chosen_count(), stride = rows * taps;
    const float *from = values + (first * rows + m * kRows) * taps;
    if (taps == 9 && chosen_count() == 9) return pack_nines(from, stride, valid, last - first, to);
    for (int64_t o = first; o < last; o++, from += stride) {
      for (int tap : chosen) {
        for (int i = 0; i < kRows; i++) *to++ = i < valid ? from[i * taps + tap] : 0.0f;
      }
    }
  }

 private:
  int64_t chosen_count() const { return static_cast<int64_t>(chosen.size()); }

  // The chosen ones of nine taps of kRows neighbours, `count` output channels that lie `stride` apart.
  void pack_nines(const float *from, int64_t stride, int valid, int64_t count, float *to) const {
    constexpr int kPlaces = kLanes / kRows;  // output channels in a vector
    const int64_t size = chosen_count() * kRows;
    for (int64_t o = 0; o < count; o += kPlaces, from += kPlaces * stride, to += kPlaces * size) {
      const float *places[kLanes];
      for (int lane = 0; lane < kLanes; lane++) {
        const int64_t place = std::min<int64_t>(lane / kRows % kPlaces, count - 1 - o);
        places[lane] = from + place * stride + std::min(lane % kRows, valid - 1) * 9;
      }
      for (int place = 0; place < kPlaces; place++) prefetch(places[place * kRows] + kRows * 9, kRows * 9);  // the next panel's
      alignas(64) float raw[9][kLanes];
      read_nines(places, raw[0]);
      for (size_t i = 0; i < chosen.size(); i++) {
        const float *values_of_tap = raw[chosen[i]];
        for (int64_t place = 0; place < std::min<int64_t>(kPlaces, count - o); place++) {
          std::memcpy(to + place * size + i * kRows, values_of_tap + place * kRows, sizeof(float) * kRows);
        }
      }
    }
  }
};

// out[image][row][pixel] = sum over depth of left[row][depth] * patches[depth][image, pixel]; then the epilogue. Of few
// columns, which are one tile, each panel of the left side is packed by the thread that multiplies it, and used at once;
// else all of them are packed before.
void correlate(const LeftSide &left, const Patches &patches, const Placement &placement, const Epilogue &epilogue, float *out) {
  const int64_t rows = left.rows, columns = patches.columns(), depth = patches.rows(), threads = omp_get_max_threads();
  const int64_t panels = ceil_div(columns, kColumns), row_panels = left.panels();
  const bool few = columns <= kTileColumns;
  const int64_t tile_panels = few ? panels : std::clamp<int64_t>(panels / (4 * threads), 1, kTileColumns / kColumns);
  const int64_t tiles = ceil_div(panels, tile_panels);
  int64_t blocks = ceil_div(rows, kBlockRows);
  if (few) {
    blocks = std::min(row_panels, ceil_div(blocks, threads) * threads);
  } else if (tiles * blocks < 2 * threads) {
    blocks = std::min(row_panels, ceil_div(2 * threads, tiles));
  }
  const int64_t block_panels = ceil_div(row_panels, blocks);
  blocks = ceil_div(row_panels, block_panels);
  const int64_t plane = placement.plane(), step = left.step();
  float *weights = few ? nullptr : weight_buffer().get(row_panels * kRows * depth);
#pragma omp parallel num_threads(threads) if (!few || blocks > 1)
  {
    if (!few) {
#pragma omp for schedule(static)
      for (int64_t m = 0; m < row_panels; m++) left.pack(m, 0, depth, weights + m * kRows * depth);
    }
    static thread_local Buffer buffer;
    const int64_t tile_size = kPanelStride * tile_panels, sums_size = block_panels * tile_panels * kTile;
    const int64_t left_size = few ? block_panels * kRows * step : 0;
    float *sums = buffer.get(sums_size + kTile + tile_size + left_size), *edge = sums + sums_size, *packed = edge + kTile;
    float *packed_left = packed + tile_size;
    Columns tile_columns;
#pragma omp for schedule(dynamic)
    for (int64_t task = 0; task < tiles * blocks; task++) {
      const int64_t first = task / blocks * tile_panels, end = std::min(panels, first + tile_panels);
      const int64_t first_row = task % blocks * block_panels, end_row = std::min(row_panels, first_row + block_panels);
      const int64_t column = first * kColumns;
      tile_columns.set(patches, column, std::min(columns, end * kColumns) - column, kColumns, kPanelStride);
      for (int64_t k = 0; k < depth; k += step) {
        const int64_t k_end = std::min(depth, k + step);
        tile_columns.read(patches, k, k_end, packed, kColumns);
        const float *lefts = few ? packed_left : weights + first_row * kRows * depth + k * kRows;
        const int64_t left_stride = kRows * (few ? step : depth);
        for (int64_t m = first_row; few && m < end_row; m++) left.pack(m, k, k_end, packed_left + (m - first_row) * left_stride);
        for (int64_t p = first; p < end; p++) {
          const float *right = packed + (p - first) * kPanelStride;
          const int count = static_cast<int>(std::min<int64_t>(kColumns, columns - p * kColumns));
          const int64_t image = p * kColumns / patches.grid(), pixel = p * kColumns % patches.grid();
          const bool direct = placement.stride == 1 && pixel + count <= patches.grid();
          for (int64_t m = first_row; m < end_row; m++) {
            float *sum = sums + ((p - first) * block_panels + m - first_row) * kTile;
            const float *panel = lefts + (m - first_row) * left_stride, *before = k ? sum : nullptr;
            const int valid = static_cast<int>(std::min<int64_t>(kRows, rows - m * kRows));
            if (k_end < depth) {
              multiply(count, k_end - k, panel, right, before, kColumns, sum, kColumns, kRows);
            } else if (direct) {
              float *to = out + (image * rows + m * kRows) * plane + pixel;
              multiply(count, k_end - k, panel, right, before, kColumns, to, plane, valid, epilogue.from(m * kRows));
            } else {
              multiply(count, k_end - k, panel, right, before, kColumns, edge, kColumns, valid, epilogue.from(m * kRows));
              place_tile(edge, valid, tile_columns.runs(), p - first, placement, rows, out + m * kRows * plane);
            }
          }
        }
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
  const LeftSide left{weights, c.out, patches.rows(), 1, {}, false};
  correlate(left, patches, {patches.grid_height, patches.grid_width, 1, 0, 0}, epilogue, out);
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
    correlate({weights, c.in, patches.rows(), taps, chosen, true}, patches, placement, {}, dx);
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
  const bool once = parts == 1 && steps == 1;  // each sum is one product, and goes where it belongs
  float *partial = once ? nullptr : partial_buffer.get(parts * size);
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
          const float *panel = left + m * kRows * kStepPixels;
          if (once) {
            multiply(static_cast<int>(used), count, panel, right, nullptr, 0, dweights + m * kRows * columns + p * kColumns,
                     columns, static_cast<int>(std::min<int64_t>(kRows, c.out - m * kRows)));
            continue;
          }
          float *sum = partial + part * size + (p * row_panels + m) * kTile;
          multiply(static_cast<int>(used), count, panel, right, step > first_step ? sum : nullptr, kColumns, sum, kColumns,
                   kRows);
        }
      }
    }
  }
  if (once) return;
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
