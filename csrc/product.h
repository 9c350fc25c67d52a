// Products of listed rows with a panel, in strips of as many sums as the registers hold; and bfloat16 to float and back.
#pragma once

#include "vector.h"

namespace raccord {

static inline int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

namespace {

// Rows of a product taken together, and most vectors: as many sums as the registers hold.
constexpr int kRows = 4;
#if defined(__AVX512F__)
constexpr int kMostVectors = 5;
#elif defined(__AVX2__)
constexpr int kMostVectors = 3;
#else
constexpr int kMostVectors = 4;
#endif

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

// The product of `count` listed rows with a panel of `vectors` vectors. row(i) is the i-th row's start and
// finish(i, n, sum) takes its n-th vector; i may pass `count` up to the next multiple of kRows.
template <int NV, class Row, class Finish>
inline void multiply_strip(
    int64_t count, int64_t depth, const float* panel, int64_t stride, int64_t vector, const Row& row,
    const Finish& finish) {
  for (int64_t i = 0; i < count; i += kRows) {
    const float* rows[kRows];
    for (int k = 0; k < kRows; ++k) rows[k] = row(i + k < count ? i + k : count - 1);
    multiply_block<kRows, NV>(rows, depth, panel, stride, [&](int k, int n, Vector sum) {
      finish(i + k, vector + n, sum);
    });
  }
}

template <class Row, class Finish>
inline void multiply_rows(
    int64_t count, int64_t depth, const float* panel, int64_t stride, int64_t vectors, const Row& row,
    const Finish& finish) {
  const int64_t strips = (vectors + kMostVectors - 1) / kMostVectors;
  for (int64_t strip = 0, vector = 0; strip < strips; ++strip) {
    // Strips of like width: a single vector would leave the multipliers waiting for its sums.
    const int64_t width = (vectors - vector + strips - strip - 1) / (strips - strip);
    const float* here = panel + vector * Vector::kWidth;
    switch (width) {
      case 1: multiply_strip<1>(count, depth, here, stride, vector, row, finish); break;
      case 2: multiply_strip<2>(count, depth, here, stride, vector, row, finish); break;
      case 3: multiply_strip<3>(count, depth, here, stride, vector, row, finish); break;
#if !defined(__AVX2__) || defined(__AVX512F__)
      case 4: multiply_strip<4>(count, depth, here, stride, vector, row, finish); break;
#endif
#if defined(__AVX512F__)
      case 5: multiply_strip<5>(count, depth, here, stride, vector, row, finish); break;
#endif
      default: break;
    }
    vector += width;
  }
}

}  // namespace
}  // namespace raccord
