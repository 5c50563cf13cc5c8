// One pass over a stretch of memory, for the processor that the including file compiles for. Without a guard: it is
// included once for each.

// Sum of the squares of factor * gradient. Short sums in float lanes go to a double, so that the error does not grow with
// the length.
double squared_sum(const float *gradient, float factor, int64_t count) {
  constexpr int64_t kLanes = 16, kShort = 64 * kLanes;
  double total = 0.0;
  int64_t i = 0;
  while (count - i >= kLanes) {
    float lanes[kLanes] = {};
    const int64_t end = i + std::min(kShort, (count - i) / kLanes * kLanes);
    for (; i < end; i += kLanes) {
      for (int64_t lane = 0; lane < kLanes; lane++) {
        const float value = factor * gradient[i + lane];
        lanes[lane] += value * value;
      }
    }
    for (const float lane : lanes) total += lane;
  }
  for (; i < count; i++) {
    const double value = factor * gradient[i];
    total += value * value;
  }
  return total;
}

void momentum(const Step &step, float decay, const float *__restrict gradient, float *__restrict weight,
              float *__restrict moment, float *, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    moment[i] = step.beta1 * moment[i] + (step.factor * gradient[i] + decay * weight[i]);
    weight[i] -= step.rate * moment[i];
  }
}

void adam(const Step &step, float decay, const float *__restrict gradient, float *__restrict weight,
          float *__restrict first, float *__restrict second, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    const float value = step.factor * gradient[i] + decay * weight[i];
    first[i] += (1.0f - step.beta1) * (value - first[i]);
    second[i] += (1.0f - step.beta2) * (value * value - second[i]);
    weight[i] -= step.rate * first[i] / (std::sqrt(second[i]) + step.epsilon);
  }
}

void adam_weight_decay(const Step &step, float decay, const float *__restrict gradient, float *__restrict weight,
                       float *__restrict first, float *__restrict second, int64_t count) {
  for (int64_t i = 0; i < count; i++) {
    const float value = step.factor * gradient[i];
    first[i] = step.beta1 * first[i] + (1.0f - step.beta1) * value;
    second[i] = step.beta2 * second[i] + (1.0f - step.beta2) * value * value;
    weight[i] -= step.rate * (first[i] / (std::sqrt(second[i]) + step.epsilon) + decay * weight[i]);
  }
}

void average(float kept, float *__restrict average, const float *__restrict value, int64_t count) {
  for (int64_t i = 0; i < count; i++) average[i] = kept * average[i] + (1.0f - kept) * value[i];
}
