// Rows of the matrix of patches (im2col), read straight from images [batch][channels][height][width]. Included inside a
// namespace and a `#pragma GCC target`, after the vectors.

// How many channels before it is read a pixel is fetched: channels lie too far apart for the processor to foresee.
constexpr int64_t kChannelsAhead = 2;

// What a position of the kernel adds to the pixel.
struct Tap {
  int dy, dx;
};

// A matrix whose rows are (channel, tap), and whose columns are pixels (image, y, x) of a grid: pixel (y, x) reads
// (y * stride + dy, x * stride + dx) of the image, or zero outside of it. Strides are 1 or 2.
struct Patches {
  const float *images;
  int64_t batch, channels;
  int height, width;
  int grid_height, grid_width;
  int stride;
  std::vector<Tap> taps;

  int64_t plane() const { return static_cast<int64_t>(height) * width; }
  int64_t grid() const { return static_cast<int64_t>(grid_height) * grid_width; }
  int64_t columns() const { return batch * grid(); }
  int64_t rows() const { return channels * static_cast<int64_t>(taps.size()); }

  // Without neighbours an image is one long row.
  void flatten() {
    if (stride != 1 || taps.size() != 1 || taps[0].dy != 0 || taps[0].dx != 0) return;
    width = grid_width = height * width;
    height = grid_height = 1;
  }
};

// Neighbouring columns in one row of one image and in one panel, at most a vector of them.
struct Run {
  int64_t image;
  int y, x, length, panel, at;
};

// How a tap reads a run: floats from the start of the channel in the first image, which of them exist, and their place in
// the result.
struct Load {
  int64_t offset;
  uint32_t bits;
  int to;
};

// A range of columns, in panels of `panel` columns that lie `panel_stride` floats apart.
class Columns {
 public:
  void set(const Patches &patches, int64_t first, int64_t count, int64_t panel, int panel_stride) {
    runs_.clear();
    int64_t image = first / patches.grid();
    int y = static_cast<int>(first % patches.grid() / patches.grid_width);
    int x = static_cast<int>(first % patches.grid_width);
    for (int64_t at = 0; at < count;) {
      const int in_panel = static_cast<int>(at % panel);
      const int64_t length = std::min<int64_t>({kLanes, patches.grid_width - x, count - at, panel - in_panel});
      runs_.push_back({image, y, x, static_cast<int>(length), static_cast<int>(at / panel), in_panel});
      at += length;
      x += static_cast<int>(length);
      if (x < patches.grid_width) continue;
      x = 0;
      if (++y < patches.grid_height) continue;
      y = 0;
      image++;
    }
    find_loads(patches, panel_stride);
  }

  const std::vector<Run> &runs() const { return runs_; }

  // Writes rows [first, end) of all panels; a row may write up to a vector past its end, before the next is written.
  void read(const Patches &patches, int64_t first, int64_t end, float *to, int64_t to_stride) const {
    if (patches.stride == 1) {
      read_rows<1>(patches, first, end, to, to_stride);
    } else {
      read_rows<2>(patches, first, end, to, to_stride);
    }
  }

 private:
  void find_loads(const Patches &patches, int panel_stride) {
    loads_.resize(runs_.size() * patches.taps.size());
    Load *load = loads_.data();
    for (const Tap &tap : patches.taps) {
      for (const Run &run : runs_) {
        const int y = run.y * patches.stride + tap.dy, x = run.x * patches.stride + tap.dx;
        uint32_t bits = 0;
        for (int i = 0; y >= 0 && y < patches.height && i < run.length; i++) {
          const int pixel = x + i * patches.stride;
          if (pixel >= 0 && pixel < patches.width) bits |= 1u << (i * patches.stride);
        }
        const int64_t image = run.image * patches.channels * patches.plane();
        *load++ = {image + static_cast<int64_t>(y) * patches.width + x, bits, run.panel * panel_stride + run.at};
      }
    }
  }

  template <int STRIDE>
  void read_rows(const Patches &patches, int64_t first, int64_t end, float *to, int64_t to_stride) const {
    const size_t taps = patches.taps.size(), runs = runs_.size();
    const int64_t ahead = kChannelsAhead * patches.plane();
    const float *channel = patches.images + first / static_cast<int64_t>(taps) * patches.plane();
    size_t tap = first % static_cast<int64_t>(taps);
    for (int64_t row = first; row < end; row++) {
      const Load *loads = loads_.data() + tap * runs;
      for (size_t i = 0; i < runs; i++) {
        const float *from = channel + loads[i].offset;
        __builtin_prefetch(from + ahead);
        if (STRIDE > 1) __builtin_prefetch(from + ahead + kLanes);
        const Vector low = load(from, loads[i].bits);
        store(to + loads[i].to, STRIDE == 1 ? low : even_lanes(low, load(from + kLanes, loads[i].bits >> kLanes)));
      }
      to += to_stride;
      if (++tap == taps) {
        tap = 0;
        channel += patches.plane();
      }
    }
  }

  std::vector<Run> runs_;
  std::vector<Load> loads_;  // [taps][runs]
};
