// Products of rows with a panel, in strips of as many sums as the registers hold; and bfloat16 to float and back.
#pragma once

#include "vector.h"

namespace raccord {

static inline int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

namespace {

// Rows taken together, and most vectors: their sums, the vectors and one row's element fill the registers.
constexpr int kRows = 4;
#if defined(__AVX512F__)
constexpr int kMostVectors = 5;
#elif defined(__AVX2__)
constexpr int kMostVectors = 3;
#else
constexpr int kMostVectors = 4;
#endif

// The compiler would rather load a vector again for every row than keep it, and be short of loads.
inline void keep_in_register(Vector& vector) {
#if defined(__AVX2__)
  __asm__("" : "+v"(vector.v));
#else
  static_cast<void>(vector);
#endif
}

// kRows rows with NV vectors of the panel, each element one chain of fused multiply-adds from the first row of the panel
// to the last. finish(i, n, sum) takes row i, vector n. Not inlined, or its sums would share the registers with the rest.
template <int NV, class Finish>
__attribute__((noinline)) void multiply_block(
    const float* row, int64_t row_stride, int64_t depth, const float* panel, int64_t stride, const Finish& finish) {
  Vector sums[kRows][NV];
  for (int i = 0; i < kRows; ++i)
    for (int n = 0; n < NV; ++n) sums[i][n] = broadcast(0.0f);
  for (int64_t d = 0; d < depth; ++d, ++row, panel += stride) {
    Vector b[NV];
    for (int n = 0; n < NV; ++n) {
      b[n] = load(panel + n * Vector::kWidth);
      keep_in_register(b[n]);
    }
    for (int i = 0; i < kRows; ++i) {
      const Vector a = broadcast(row[i * row_stride]);
      for (int n = 0; n < NV; ++n) sums[i][n] = fused(a, b[n], sums[i][n]);
    }
  }
  for (int i = 0; i < kRows; ++i)
    for (int n = 0; n < NV; ++n) finish(i, n, sums[i][n]);
}

// `count` rows with `vectors` vectors; finish(i, n, sum) takes row i, vector n. Rows are read, and finished, up to the
// next multiple of kRows.
template <class Finish>
inline void multiply_rows(
    int64_t count, const float* rows, int64_t row_stride, int64_t depth, const float* panel, int64_t stride,
    int64_t vectors, const Finish& finish) {
  const int64_t strips = (vectors + kMostVectors - 1) / kMostVectors;
  for (int64_t strip = 0, vector = 0; strip < strips; ++strip) {
    // Strips of like width: a single vector would leave the multipliers waiting for its sums.
    const int64_t width = (vectors - vector + strips - strip - 1) / (strips - strip);
    const float* here = panel + vector * Vector::kWidth;
    for (int64_t i = 0; i < count; i += kRows) {
      const auto take = [=](int k, int n, Vector sum) { finish(i + k, vector + n, sum); };
      const float* row = rows + i * row_stride;
      switch (width) {
        case 1: multiply_block<1>(row, row_stride, depth, here, stride, take); break;
        case 2: multiply_block<2>(row, row_stride, depth, here, stride, take); break;
        case 3: multiply_block<3>(row, row_stride, depth, here, stride, take); break;
#if !defined(__AVX2__) || defined(__AVX512F__)
        case 4: multiply_block<4>(row, row_stride, depth, here, stride, take); break;
#endif
#if defined(__AVX512F__)
        case 5: multiply_block<5>(row, row_stride, depth, here, stride, take); break;
#endif
        default: break;
      }
    }
    vector += width;
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
