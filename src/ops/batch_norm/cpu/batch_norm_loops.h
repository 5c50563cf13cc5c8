// The loops of batch_norm.cc, included once per instruction set inside a namespace and a `#pragma GCC target`: GCC makes
// the vectors of what the processor has. Sums are in float32 within a block, by lanes, and in float64 over blocks.

typedef float Vector __attribute__((vector_size(32)));
constexpr int64_t kLanes = 8;
constexpr int64_t kStep = 4 * kLanes;
constexpr int64_t kBlock = 1024;  // values, which stay in the first cache between two passes

inline Vector load(const float *from) {
  Vector values;
  std::memcpy(&values, from, sizeof(values));
  return values;
}

// A sum in four vectors, which do not wait for one another.
struct Sum {
  Vector parts[4] = {};
  float rest = 0.0f;

  double total() const {
    const Vector all = (parts[0] + parts[1]) + (parts[2] + parts[3]);
    const float low = (all[0] + all[1]) + (all[2] + all[3]), high = (all[4] + all[5]) + (all[6] + all[7]);
    return static_cast<double>(low + high) + rest;
  }
};

inline double sum_of(const float *values, int64_t count) {
  Sum sum;
  int64_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    for (int part = 0; part < 4; part++) sum.parts[part] += load(values + i + part * kLanes);
  }
  for (; i + kLanes <= count; i += kLanes) sum.parts[0] += load(values + i);
  for (; i < count; i++) sum.rest += values[i];
  return sum.total();
}

struct Sums {
  double plain = 0.0, product = 0.0;
};

// Of (a - a_center) and of (a - a_center) * (b - b_center).
inline Sums sums_around(const float *a, float a_center, const float *b, float b_center, int64_t count) {
  Sum plain, product;
  const auto add = [&](int part, int64_t i) {
    const Vector value = load(a + i) - a_center;
    plain.parts[part] += value;
    product.parts[part] += value * (load(b + i) - b_center);
  };
  int64_t i = 0;
  for (; i + kStep <= count; i += kStep) {
    for (int part = 0; part < 4; part++) add(part, i + part * kLanes);
  }
  for (; i + kLanes <= count; i += kLanes) add(0, i);
  for (; i < count; i++) {
    plain.rest += a[i] - a_center;
    product.rest += (a[i] - a_center) * (b[i] - b_center);
  }
  return {plain.total(), product.total()};
}

// Each block is read for its mean and again, from the cache, for its squares around that, as nearly as float32 has it.
inline Moments moments(const Maps &maps, const float *x, int64_t channel) {
  Moments all;
  for (int64_t image = 0; image < maps.batch; image++) {
    const float *plane = x + maps.start(image, channel);
    for (int64_t first = 0; first < maps.pixels; first += kBlock) {
      const float *block = plane + first;
      const int64_t count = std::min(kBlock, maps.pixels - first);
      const float center = static_cast<float>(sum_of(block, count) / count);
      const Sums sums = sums_around(block, center, block, center, count);
      all.add(count, center + sums.plain / count, sums.product - sums.plain * sums.plain / count);
    }
  }
  return all;
}

// `center` is float32: what the mean has beyond that goes to the shift.
inline void scale_maps(const Maps &maps, int64_t channel, const float *x, double mean, double scale, double beta,
                       float *out) {
  const float center = static_cast<float>(mean), factor = static_cast<float>(scale);
  const float shift = static_cast<float>(beta - (mean - center) * scale);
  for (int64_t image = 0; image < maps.batch; image++) {
    const float *from = x + maps.start(image, channel);
    float *to = out + maps.start(image, channel);
#pragma omp simd
    for (int64_t i = 0; i < maps.pixels; i++) to[i] = (from[i] - center) * factor + shift;
  }
}

// Sums of dout and of dout * (x - center).
inline Sums sum_gradients(const Maps &maps, int64_t channel, const float *dout, const float *x, float center) {
  Sums all;
  for (int64_t image = 0; image < maps.batch; image++) {
    const int64_t start = maps.start(image, channel);
    for (int64_t first = 0; first < maps.pixels; first += kBlock) {
      const int64_t at = start + first, count = std::min(kBlock, maps.pixels - first);
      const Sums sums = sums_around(dout + at, 0.0f, x + at, center, count);
      all.plain += sums.plain;
      all.product += sums.product;
    }
  }
  return all;
}

void forward(const Maps &maps, const Layer &layer, const float *x, const Settings &settings, float *out, float *mean,
             float *inverse, const Running &updated) {
#pragma omp parallel for if (maps.worth_threads())
  for (int64_t c = 0; c < maps.channels; c++) {
    const Moments found = moments(maps, x, c);
    const double variance = found.squares / found.count, deviation = std::sqrt(variance + settings.epsilon);
    const double unbiased = found.squares / std::max(found.count - 1.0, 1.0);
    mean[c] = static_cast<float>(found.mean);
    inverse[c] = static_cast<float>(1.0 / deviation);
    updated.mean[c] = settings.mixed(layer.mean[c], found.mean);
    updated.variance[c] = settings.mixed(layer.variance[c], unbiased);
    scale_maps(maps, c, x, found.mean, layer.gamma[c] / deviation, layer.beta[c], out);
  }
}

void backward(const Maps &maps, const float *dout, const float *x, const float *gamma, const float *mean,
              const float *inverse, float *dx, float *dgamma, float *dbeta) {
#pragma omp parallel for if (maps.worth_threads())
  for (int64_t c = 0; c < maps.channels; c++) {
    const float center = mean[c];
    const Sums sums = sum_gradients(maps, c, dout, x, center);
    const double count = static_cast<double>(maps.batch * maps.pixels), over = inverse[c];
    dbeta[c] = static_cast<float>(sums.plain);
    dgamma[c] = static_cast<float>(sums.product * over);
    const float factor = static_cast<float>(gamma[c] * over), level = static_cast<float>(sums.plain / count);
    const float slope = static_cast<float>(over * over * sums.product / count);
    for (int64_t image = 0; image < maps.batch; image++) {
      const int64_t start = maps.start(image, c);
      const float *from = x + start, *gradient = dout + start;
      float *to = dx + start;
#pragma omp simd
      for (int64_t i = 0; i < maps.pixels; i++) to[i] = ((gradient[i] - level) - (from[i] - center) * slope) * factor;
    }
  }
}

void stored_forward(const Maps &maps, const Layer &layer, const float *x, const Settings &settings, float *out) {
#pragma omp parallel for if (maps.worth_threads())
  for (int64_t c = 0; c < maps.channels; c++) {
    scale_maps(maps, c, x, layer.mean[c], layer.gamma[c] * settings.inverse(layer.variance[c]), layer.beta[c], out);
  }
}

void stored_input_gradient(const Maps &maps, const float *dout, const float *gamma, const float *variance,
                           const Settings &settings, float *dx) {
#pragma omp parallel for if (maps.worth_threads())
  for (int64_t c = 0; c < maps.channels; c++) {
    scale_maps(maps, c, dout, 0.0, gamma[c] * settings.inverse(variance[c]), 0.0, dx);
  }
}

void stored_parameter_gradient(const Maps &maps, const float *dout, const float *x, const float *mean,
                               const float *variance, const Settings &settings, float *dgamma, float *dbeta) {
#pragma omp parallel for if (maps.worth_threads())
  for (int64_t c = 0; c < maps.channels; c++) {
    const Sums sums = sum_gradients(maps, c, dout, x, mean[c]);
    dbeta[c] = static_cast<float>(sums.plain);
    dgamma[c] = static_cast<float>(sums.product * settings.inverse(variance[c]));
  }
}
