// Runs all sets of batch normalization's kernels on odd shapes, in arrays of exactly their size, against plain sums.
#include <cstdio>
#include <vector>

#include "batch_norm.cc"

namespace {

using Values = std::vector<float>;

Values random_values(int64_t count, uint32_t seed, float offset) {
  Values values(count);
  for (float &value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(static_cast<int>(seed >> 9) % 2001 - 1000) / 1000.0f + offset;
  }
  return values;
}

struct Comparison {
  double worst = 0.0;

  void add(const Values &actual, const std::vector<double> &expected) {
    double largest = 0.1;
    for (double value : expected) largest = std::max(largest, std::fabs(value));
    for (size_t i = 0; i < expected.size(); i++) {
      const double difference = std::fabs(actual[i] - expected[i]) / largest;
      worst = difference <= worst ? worst : std::isnan(difference) ? INFINITY : difference;
    }
  }
};

constexpr Settings kSettings{1e-3f, 0.1f};

struct Problem {
  Maps maps;
  Values x, dout, shortcut, gamma, beta, mean, variance;

  explicit Problem(const Maps &m)
      : maps(m),
        x(random_values(m.batch * m.channels * m.pixels, 1, 2.0f)),
        dout(random_values(x.size(), 2, 0.1f)),
        shortcut(random_values(x.size(), 7, 0.3f)),
        gamma(random_values(m.channels, 3, 0.0f)),
        beta(random_values(m.channels, 4, 0.0f)),
        mean(random_values(m.channels, 5, 1.0f)),
        variance(random_values(m.channels, 6, 2.0f)) {}

  int64_t channel(size_t i) const { return static_cast<int64_t>(i) / maps.pixels % maps.channels; }

  std::vector<double> sums(const Values &values, const std::vector<double> &center, int power) const {
    std::vector<double> all(maps.channels);
    for (size_t i = 0; i < values.size(); i++) all[channel(i)] += std::pow(values[i] - center[channel(i)], power);
    return all;
  }
};

// What the kernels should give; the batch's statistics or the stored ones. Where ReLU lets gradients pass is by `actual`.
struct Expected {
  std::vector<double> mean, variance, out, dx, dgamma, dbeta, passed;

  Expected(const Problem &p, bool of_batch, const Rectifier &rectifier, const Values &actual)
      : mean(p.mean.begin(), p.mean.end()),
        variance(p.variance.begin(), p.variance.end()),
        out(p.x.size()),
        dx(p.x.size()),
        dgamma(p.maps.channels),
        dbeta(p.maps.channels),
        passed(p.dout.begin(), p.dout.end()) {
    const double count = static_cast<double>(p.maps.batch * p.maps.pixels);
    if (of_batch) {
      mean = p.sums(p.x, std::vector<double>(p.maps.channels), 1);
      for (double &value : mean) value /= count;
      variance = p.sums(p.x, mean, 2);
      for (double &value : variance) value /= count;
    }
    std::vector<double> normal(p.x.size());
    for (size_t i = 0; i < p.x.size(); i++) {
      const int64_t c = p.channel(i);
      normal[i] = (p.x[i] - mean[c]) * kSettings.inverse(variance[c]);
      out[i] = normal[i] * p.gamma[c] + p.beta[c];
      if (rectifier.shortcut != nullptr) out[i] += p.shortcut[i];
      if (rectifier.follows) out[i] = std::max(out[i], 0.0);
      if (rectifier.follows && actual[i] <= 0.0f) passed[i] = 0.0;
      dgamma[c] += normal[i] * passed[i];
      dbeta[c] += passed[i];
    }
    for (size_t i = 0; i < p.x.size(); i++) {
      const int64_t c = p.channel(i);
      const double common = of_batch ? (dbeta[c] + normal[i] * dgamma[c]) / count : 0.0;
      dx[i] = p.gamma[c] * kSettings.inverse(variance[c]) * (passed[i] - common);
    }
  }
};

bool check(const char *name, const Kernels &set, const Maps &maps, bool relu, bool add) {
  const Problem p(maps);
  const Layer layer{p.gamma.data(), p.beta.data(), p.mean.data(), p.variance.data()};
  Comparison comparison;
  const Values maps_unwritten(p.x.size(), NAN), unwritten(p.gamma.size(), NAN);
  Values out = maps_unwritten, dx = maps_unwritten, dshortcut = maps_unwritten;
  Values dgamma = unwritten, dbeta = unwritten, mean = unwritten, inverse = unwritten, shift = unwritten;
  Values new_mean = unwritten, new_variance = unwritten;
  const auto compare = [&](const Expected &expected) {
    comparison.add(out, expected.out);
    comparison.add(dx, expected.dx);
    comparison.add(dgamma, expected.dgamma);
    comparison.add(dbeta, expected.dbeta);
    if (add) comparison.add(dshortcut, expected.passed);
  };
  const Rectifier rectifier{relu, add ? p.shortcut.data() : nullptr};
  const bool by_input = relu && !add;
  const Gradient by_out{p.dout.data(), relu ? out.data() : nullptr, add ? dshortcut.data() : nullptr};
  const Gradient gradient = by_input ? Gradient{p.dout.data(), p.x.data()} : by_out;
  set.forward(maps, layer, p.x.data(), kSettings, rectifier, out.data(), mean.data(), inverse.data(), shift.data(),
              {new_mean.data(), new_variance.data()});
  set.backward(maps, gradient, p.x.data(), p.gamma.data(), mean.data(), inverse.data(),
               by_input ? shift.data() : nullptr, dx.data(), dgamma.data(), dbeta.data());
  const Expected by_batch(p, true, rectifier, out);
  compare(by_batch);
  const double count = static_cast<double>(maps.batch * maps.pixels), bias = count / std::max(count - 1.0, 1.0);
  std::vector<double> mixed_mean, mixed_variance;
  for (int64_t c = 0; c < maps.channels; c++) {
    mixed_mean.push_back(0.9 * p.mean[c] + 0.1 * by_batch.mean[c]);
    mixed_variance.push_back(0.9 * p.variance[c] + 0.1 * bias * by_batch.variance[c]);
  }
  comparison.add(new_mean, mixed_mean);
  comparison.add(new_variance, mixed_variance);

  out = dx = dshortcut = maps_unwritten;
  dgamma = dbeta = unwritten;
  set.stored_forward(maps, layer, p.x.data(), kSettings, rectifier, out.data());
  set.stored_input_gradient(maps, by_out, p.gamma.data(), p.variance.data(), kSettings, dx.data());
  set.stored_parameter_gradient(maps, add ? Gradient{dshortcut.data()} : gradient, p.x.data(), layer, kSettings,
                                dgamma.data(), dbeta.data());
  compare(Expected(p, false, rectifier, out));
  if (comparison.worst < 2e-5) return true;  // two values that nearly agree: gradients by a mean rounded to float32
  std::printf("%s %ld x %ld x %ld: %.1e\n", name, static_cast<long>(maps.batch), static_cast<long>(maps.channels),
              static_cast<long>(maps.pixels), comparison.worst);
  return false;
}

}  // namespace

int main() {
  Kernels any = kernels;
  any.forward = portable::forward;
  any.backward = portable::backward;
  any.stored_forward = portable::stored_forward;
  any.stored_input_gradient = portable::stored_input_gradient;
  any.stored_parameter_gradient = portable::stored_parameter_gradient;
  bool right = true;
  for (int64_t pixels : {1, 2, 7, 8, 35, 1023, 1024, 1025, 3000}) {
    for (const Maps &maps : {Maps{1, 1, pixels}, Maps{3, 5, pixels}, Maps{2, 17, pixels}}) {
      omp_set_num_threads(1 + static_cast<int>(pixels % 3));
      for (const int following : {0, 1, 2}) {
        right &= check("portable", any, maps, following > 0, following > 1);
        right &= check("this processor's", kernels, maps, following > 0, following > 1);
      }
    }
  }
  if (right) std::printf("all right\n");
  return right ? 0 : 1;
}
