// Products of rows with vectors, in strips of as many sums as the registers hold; and bfloat16 to float and back.
#pragma once

#include <type_traits>

#include "vector.h"

namespace raccord {

static inline int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

namespace {

// The compiler would rather load a vector again for every row than keep it, and be short of loads.
inline void keep_in_register(Vector& vector) {
#if defined(__AVX2__)
  __asm__("" : "+v"(vector.v));
#else
  static_cast<void>(vector);
#endif
}

// ROWS rows with NV vectors, each sum one chain of fused multiply-adds: element(i, d) is element d of row i, panel(d)
// where the vectors of d begin. finish(i, n, sum) takes row i, vector n.
template <int64_t ROWS, int64_t NV, class Element, class Panel, class Finish>
inline void multiply_block(int64_t depth, const Element& element, const Panel& panel, const Finish& finish) {
  Vector sums[ROWS][NV];
#pragma GCC unroll 16
  for (int64_t i = 0; i < ROWS; ++i)
#pragma GCC unroll 16
    for (int64_t n = 0; n < NV; ++n) sums[i][n] = broadcast(0.0f);
  for (int64_t d = 0; d < depth; ++d) {
    const float* here = panel(d);
    Vector b[NV];
    for (int64_t n = 0; n < NV; ++n) {
      b[n] = load(here + n * Vector::kWidth);
      keep_in_register(b[n]);
    }
#pragma GCC unroll 16
    for (int64_t i = 0; i < ROWS; ++i) {
      const Vector a = broadcast(element(i, d));
      for (int64_t n = 0; n < NV; ++n) sums[i][n] = fused(a, b[n], sums[i][n]);
    }
  }
#pragma GCC unroll 16
  for (int64_t i = 0; i < ROWS; ++i)
#pragma GCC unroll 16
    for (int64_t n = 0; n < NV; ++n) finish(i, n, sums[i][n]);
}

// Calls strip(width, first) for `vectors` vectors in strips of at most MOST, of like width: a single vector would leave
// the multipliers waiting for its sums. `width` is a constant of the compiler's.
template <int MOST, class Strip>
inline void in_strips(int64_t vectors, const Strip& strip) {
  const int64_t strips = (vectors + MOST - 1) / MOST;
  for (int64_t s = 0, first = 0; s < strips; ++s) {
    const int64_t width = (vectors - first + strips - s - 1) / (strips - s);
    switch (width) {
      case 1: strip(std::integral_constant<int, 1>(), first); break;
      case 2: strip(std::integral_constant<int, 2>(), first); break;
      case 3: strip(std::integral_constant<int, 3>(), first); break;
      case 4:
        if constexpr (MOST >= 4) strip(std::integral_constant<int, 4>(), first);
        break;
      case 5:
        if constexpr (MOST >= 5) strip(std::integral_constant<int, 5>(), first);
        break;
      default: break;
    }
    first += width;
  }
}

inline float from_bfloat16(uint16_t bits) {
  const uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  std::memcpy(&value, &wide, sizeof value);
  return value;
}

inline uint16_t to_bfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if (value != value) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

}  // namespace
}  // namespace raccord
