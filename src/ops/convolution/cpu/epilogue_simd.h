// What follows the sums of a convolution, while they are in the cache. Included inside a namespace and a
// `#pragma GCC target`, after the vectors and total_simd.h.

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

// Gradient of the bias; where `out`, what the ReLU gave, is not null also dout as it comes through the ReLU. Threads take
// channels, so that no sum depends on their number.
void bias_gradient(const Convolution &c, const float *dout, const float *out, float *masked, float *dbias) {
  const int64_t plane = static_cast<int64_t>(c.out_height) * c.out_width;
#pragma omp parallel for schedule(static) if (c.batch * c.out * plane > kWorthThreads)
  for (int64_t channel = 0; channel < c.out; channel++) {
    double sum = 0.0;
    for (int64_t image = 0; image < c.batch; image++) {
      const int64_t at = (image * c.out + channel) * plane;
      const float *from = dout + at;
      if (out) {
        const float *result = out + at;
        float *to = masked + at;
        sum += total(plane, [=](int64_t i) { return to[i] = result[i] > 0.0f ? from[i] : 0.0f; });
      } else {
        sum += total(plane, [=](int64_t i) { return from[i]; });
      }
    }
    dbias[channel] = static_cast<float>(sum);
  }
}
