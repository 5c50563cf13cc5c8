// float16 for the emulation, by the processor's conversions (-mf16c).
#pragma once

#include <immintrin.h>

struct __half {
  unsigned short bits;
};
inline float __half2float(__half value) { return _cvtsh_ss(value.bits); }
inline __half __float2half(float value) { return {_cvtss_sh(value, 0)}; }
