// What follows the sums of a convolution, while they are in the cache. Included inside a namespace and a
// `#pragma GCC target`, after the vectors.

// Finishes `count` neighbouring outputs of the epilogue's first channel.
inline void finish(const Epilogue &epilogue, float *out, int64_t count) {
  const Vector scale = broadcast(epilogue.scale ? epilogue.scale[0] : 1.0f);
  const Vector shift = broadcast(epilogue.shift ? epilogue.shift[0] : 0.0f);
  for (int64_t k = 0; k < count; k += kLanes) {
    const uint32_t lanes = ((1u << kLanes) - 1) >> std::max<int64_t>(0, k + kLanes - count);
    const Vector v = multiply_add(scale, load(out + k, lanes), shift);
    store(out + k, lanes, epilogue.relu ? larger(zero(), v) : v);
  }
}

// The sum of `count` values of dout; with RELU those whose `out` is not positive count as zero, and are written so to `masked`.
// In double precision over sums of some hundred values.
template <bool RELU>
double sum_gradients(const float *dout, const float *out, float *masked, int64_t count) {
  constexpr int64_t step = 16, most = 256;
  double sum = 0.0;
  for (int64_t first = 0; first < count; first += most) {
    const int64_t end = std::min(count, first + most), whole = end - (end - first) % step;
    float lanes[step] = {};
    for (int64_t k = first; k < whole; k += step) {
      for (int64_t i = 0; i < step; i++) {
        const float value = !RELU || out[k + i] > 0.0f ? dout[k + i] : 0.0f;
        if (RELU) masked[k + i] = value;
        lanes[i] += value;
      }
    }
    for (int64_t k = whole; k < end; k++) {
      const float value = !RELU || out[k] > 0.0f ? dout[k] : 0.0f;
      if (RELU) masked[k] = value;
      lanes[k - whole] += value;
    }
    for (float lane : lanes) sum += lane;
  }
  return sum;
}

// Gradient of the bias; where `out`, what the ReLU gave, is not null also dout as it comes through the ReLU. Threads take
// channels, so that no sum depends on their number.
void bias_gradient(const Convolution &c, const float *dout, const float *out, float *masked, float *dbias) {
  const int64_t plane = static_cast<int64_t>(c.out_height) * c.out_width;
#pragma omp parallel for schedule(static) if (c.batch * c.out * plane > kWorthThreads)
  for (int64_t channel = 0; channel < c.out; channel++) {
    double sum = 0.0;
    for (int64_t image = 0; image < c.batch; image++) {
      const int64_t at = (image * c.out + channel) * plane;
      sum += out ? sum_gradients<true>(dout + at, out + at, masked + at, plane)
                 : sum_gradients<false>(dout + at, nullptr, nullptr, plane);
    }
    dbias[channel] = static_cast<float>(sum);
  }
}
