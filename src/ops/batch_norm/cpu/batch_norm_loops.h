// The loops of batch_norm.cc, included once per instruction set inside a namespace and a `#pragma GCC target`: GCC
// makes the vectors of what the processor has. Sums are in float32 within a block, by lanes, and in float64 over blocks.

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

// What sums and gradients read, at its places: eight values or one. Values around a center,
struct Centered {
  const float *values;
  float center;

  Vector vector(int64_t i) const { return load(values + i) - center; }
  float value(int64_t i) const { return values[i] - center; }
};

// a gradient where ReLU lets it pass,
struct Passed {
  const float *dout, *positive;
  Scaling scaling;

  Vector vector(int64_t i) const {
    const Vector scaled = (load(positive + i) - scaling.center) * scaling.factor + scaling.shift;
    return scaled > 0.0f ? load(dout + i) : Vector{};
  }
  float value(int64_t i) const {
    const float gradient = dout[i];
    return scaling.of(positive[i]) > 0.0f ? gradient : 0.0f;
  }
};

// and the same, which is also written.
struct Kept {
  Passed passed;
  float *kept;

  Vector vector(int64_t i) const {
    const Vector values = passed.vector(i);
    std::memcpy(kept + i, &values, sizeof(values));
    return values;
  }
  float value(int64_t i) const { return kept[i] = passed.value(i); }
};

struct Sums {
  double plain = 0.0, product = 0.0;
};

// Of `count` values from `start`, and of their products with others.
template <typename Values>
inline Sums sums_of(const Values &values, const Centered &others, int64_t start, int64_t count) {
  Sum plain, product;
  const auto add = [&](int part, int64_t i) {
    const Vector found = values.vector(i);
    plain.parts[part] += found;
    product.parts[part] += found * others.vector(i);
  };
  const int64_t end = start + count;
  int64_t i = start;
  for (; i + kStep <= end; i += kStep) {
    for (int part = 0; part < 4; part++) add(part, i + part * kLanes);
  }
  for (; i + kLanes <= end; i += kLanes) add(0, i);
  for (; i < end; i++) {
    const float found = values.value(i);
    plain.rest += found;
    product.rest += found * others.value(i);
  }
  return {plain.total(), product.total()};
}

// Calls work(start, count) for each block of a channel.
template <typename Work>
inline void for_blocks(const Maps &maps, int64_t channel, const Work &work) {
  for (int64_t image = 0; image < maps.batch; image++) {
    const int64_t start = maps.start(image, channel);
    for (int64_t i = 0; i < maps.pixels; i += kBlock) work(start + i, std::min(kBlock, maps.pixels - i));
  }
}

// Each block is read for its mean and again, from the cache, for its squares around that, as nearly as float32 has it.
inline Moments moments(const Maps &maps, const float *x, int64_t channel) {
  Moments all;
  for_blocks(maps, channel, [&](int64_t start, int64_t count) {
    const Centered values{x, static_cast<float>(sum_of(x + start, count) / count)};
    const Sums sums = sums_of(values, values, start, count);
    all.add(count, values.center + sums.plain / count, sums.product - sums.plain * sums.plain / count);
  });
  return all;
}

inline float rectified(float value) { return value < 0.0f ? 0.0f : value; }

// `after` has the value and its place.
template <typename After>
inline void scale_maps(const Maps &maps, int64_t channel, const float *x, const Scaling &scaling, float *out,
                       const After &after) {
  for_blocks(maps, channel, [&](int64_t start, int64_t count) {
#pragma omp simd
    for (int64_t i = start; i < start + count; i++) out[i] = after(scaling.of(x[i]), i);
  });
}

inline void normalize_maps(const Maps &maps, int64_t channel, const float *x, const Scaling &scaling,
                           const Rectifier &rectifier, float *out) {
  const float *shortcut = rectifier.shortcut;
  if (shortcut != nullptr) {
    const auto after = [shortcut](float value, int64_t i) { return rectified(value + shortcut[i]); };
    scale_maps(maps, channel, x, scaling, out, after);
  } else if (rectifier.follows) {
    scale_maps(maps, channel, x, scaling, out, [](float value, int64_t) { return rectified(value); });
  } else {
    scale_maps(maps, channel, x, scaling, out, [](float value, int64_t) { return value; });
  }
}

// Calls work(values, values for those who read them once more).
template <typename Work>
inline void with_values(const Gradient &gradient, const Scaling &scaling, const Work &work) {
  const Centered all{gradient.dout, 0.0f};
  const Passed passed{gradient.dout, gradient.positive, scaling};
  if (gradient.positive == nullptr) {
    work(all, all);
  } else if (gradient.dshortcut == nullptr) {
    work(passed, passed);
  } else {
    work(Kept{passed, gradient.dshortcut}, Centered{gradient.dshortcut, 0.0f});
  }
}

// Sums of a gradient and of gradient * (x - center).
template <typename Values>
inline Sums sum_gradients(const Maps &maps, int64_t channel, const Values &values, const Centered &x) {
  Sums all;
  for_blocks(maps, channel, [&](int64_t start, int64_t count) {
    const Sums sums = sums_of(values, x, start, count);
    all.plain += sums.plain;
    all.product += sums.product;
  });
  return all;
}

void forward(const Maps &maps, const Layer &layer, const float *x, const Settings &settings, const Rectifier &rectifier,
             float *out, float *mean, float *inverse, float *shift, const Running &updated) {
#pragma omp parallel for if (maps.worth_threads())
  for (int64_t c = 0; c < maps.channels; c++) {
    const Moments found = moments(maps, x, c);
    const double unbiased = found.squares / std::max(found.count - 1.0, 1.0);
    mean[c] = static_cast<float>(found.mean);
    inverse[c] = static_cast<float>(settings.inverse(found.squares / found.count));
    updated.mean[c] = settings.mixed(layer.mean[c], found.mean);
    updated.variance[c] = settings.mixed(layer.variance[c], unbiased);
    const double scale = static_cast<double>(layer.gamma[c]) * inverse[c];  // which the gradient finds again
    const Scaling scaling = Scaling::around(found.mean, scale, layer.beta[c]);
    shift[c] = scaling.shift;
    normalize_maps(maps, c, x, scaling, rectifier, out);
  }
}

void backward(const Maps &maps, const Gradient &gradient, const float *x, const float *gamma, const float *mean,
              const float *inverse, const float *shift, float *dx, float *dgamma, float *dbeta) {
#pragma omp parallel for if (maps.worth_threads())
  for (int64_t c = 0; c < maps.channels; c++) {
    const double count = static_cast<double>(maps.batch * maps.pixels), over = inverse[c];
    const float center = mean[c], factor = static_cast<float>(gamma[c] * over);
    const Scaling scaling = shift == nullptr ? Scaling{} : Scaling{center, factor, shift[c]};
    with_values(gradient, scaling, [&](const auto &values, const auto &again) {
      const Sums sums = sum_gradients(maps, c, values, {x, center});
      dbeta[c] = static_cast<float>(sums.plain);
      dgamma[c] = static_cast<float>(sums.product * over);
      const float level = static_cast<float>(sums.plain / count);
      const float slope = static_cast<float>(over * over * sums.product / count);
      for_blocks(maps, c, [&](int64_t start, int64_t size) {
#pragma omp simd
        for (int64_t i = start; i < start + size; i++) {
          dx[i] = ((again.value(i) - level) - (x[i] - center) * slope) * factor;
        }
      });
    });
  }
}

void stored_forward(const Maps &maps, const Layer &layer, const float *x, const Settings &settings,
                    const Rectifier &rectifier, float *out) {
#pragma omp parallel for if (maps.worth_threads())
  for (int64_t c = 0; c < maps.channels; c++) {
    normalize_maps(maps, c, x, layer.scaling(c, settings), rectifier, out);
  }
}

void stored_input_gradient(const Maps &maps, const Gradient &gradient, const float *gamma, const float *variance,
                           const Settings &settings, float *dx) {
#pragma omp parallel for if (maps.worth_threads())
  for (int64_t c = 0; c < maps.channels; c++) {
    const float factor = static_cast<float>(gamma[c] * settings.inverse(variance[c]));
    with_values(gradient, Scaling{}, [&](const auto &values, const auto &) {
      for_blocks(maps, c, [&](int64_t start, int64_t count) {
#pragma omp simd
        for (int64_t i = start; i < start + count; i++) dx[i] = values.value(i) * factor;
      });
    });
  }
}

void stored_parameter_gradient(const Maps &maps, const Gradient &gradient, const float *x, const Layer &layer,
                               const Settings &settings, float *dgamma, float *dbeta) {
#pragma omp parallel for if (maps.worth_threads())
  for (int64_t c = 0; c < maps.channels; c++) {
    const Scaling scaling = gradient.positive == nullptr ? Scaling{} : layer.scaling(c, settings);
    with_values(gradient, scaling, [&](const auto &values, const auto &) {
      const Sums sums = sum_gradients(maps, c, values, {x, layer.mean[c]});
      dbeta[c] = static_cast<float>(sums.plain);
      dgamma[c] = static_cast<float>(sums.product * settings.inverse(layer.variance[c]));
    });
  }
}
