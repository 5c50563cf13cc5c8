// The loss of negatives and its derivative, written so that compilers make vectors of it. Included inside a namespace.

// exp(x) for x <= 0, to 2e-7 of it; what would be denormal is 2^-126.
inline float exp_below_zero(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves no bits for fractions
  float power = x * 1.44269504f;
  power = power < -126.0f ? -126.0f : power;
  const float whole = (power + kRound) - kRound, t = (power - whole) * 0.693147181f;
  const float fraction =
      1.0f + t * (1.0f + t * (1.0f / 2 + t * (1.0f / 6 + t * (1.0f / 24 + t * (1.0f / 120 + t * (1.0f / 720 + t * (1.0f / 5040)))))));
  const int32_t bits = (static_cast<int32_t>(whole) + 127) << 23;
  float scale;
  std::memcpy(&scale, &bits, sizeof(scale));
  return fraction * scale;
}

// log(1 + e) for 0 <= e <= 1 as 2 artanh(e / (2 + e)), whose series ends soon.
inline float log_of_one_plus(float e) {
  const float z = e / (2.0f + e), s = z * z;
  return 2.0f * z *
         (1.0f + s * (1.0f / 3 + s * (1.0f / 5 + s * (1.0f / 7 + s * (1.0f / 9 + s * (1.0f / 11 + s * (1.0f / 13)))))));
}

// weight * p^gamma * softplus(x) with p = sigmoid(x), and its derivative p^gamma (gamma (1 - p) softplus(x) + p) * weight.
template <bool SQUARE>
inline float negative(float x, float gamma, float weight, float *slope) {
  const float e = exp_below_zero(x > 0.0f ? -x : x), inverse = 1.0f / (1.0f + e);
  const float p = x > 0.0f ? inverse : e * inverse, softplus = (x > 0.0f ? x : 0.0f) + log_of_one_plus(e);
  const float focus = weight * (SQUARE ? p * p : std::pow(p, gamma));
  *slope = focus * (gamma * (softplus - p * softplus) + p);
  return focus * softplus;
}

// `count` neighbouring anchors of all classes, planes of logits and slopes `plane` floats apart.
template <bool SQUARE>
void focal_loss(Settings settings, const float *logits, const int32_t *labels, int64_t classes, int64_t plane, int64_t count,
                float *loss, float *slopes) {
  for (int64_t i = 0; i < count; i++) loss[i] = 0.0f;
  for (int64_t c = 0; c < classes; c++) {
    const float *x = logits + c * plane;
    float *slope = slopes + c * plane;
    for (int64_t i = 0; i < count; i++) loss[i] += negative<SQUARE>(x[i], settings.gamma, 1.0f - settings.alpha, slope + i);
  }
  for (int64_t i = 0; i < count; i++) {
    if (labels[i] < 0 || labels[i] >= classes) continue;
    const int64_t at = labels[i] * plane + i;  // a positive is a negative at -x
    float slope;
    const float before = negative<SQUARE>(logits[at], settings.gamma, 1.0f - settings.alpha, &slope);
    loss[i] += negative<SQUARE>(-logits[at], settings.gamma, settings.alpha, &slope) - before;
    slopes[at] = -slope;
  }
}
