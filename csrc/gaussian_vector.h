// What the AVX2 and AVX-512 row functions share: the normal values of eight words, and the walk along a row.
#pragma once

#include <immintrin.h>

#include "gaussian.h"

namespace raccord {
namespace {

// One 16-byte load a value and a transposition: 1.6 times faster than four gathers on Zen 3.
inline __m256 normal8(const float* table, __m256i words) {
  const __m256i magnitude = _mm256_or_si256(_mm256_srli_epi32(words, 1), _mm256_set1_epi32(1));
  const __m256i bits = _mm256_castps_si256(_mm256_cvtepi32_ps(magnitude));
  const __m256i row = _mm256_sub_epi32(_mm256_srli_epi32(bits, kFractionBits), _mm256_set1_epi32(kFirstRow));
  const __m256i fraction = _mm256_and_si256(bits, _mm256_set1_epi32((1 << kFractionBits) - 1));
  const __m256 t = _mm256_mul_ps(_mm256_cvtepi32_ps(fraction), _mm256_set1_ps(kFractionUnit));

  alignas(32) int32_t rows[8];
  _mm256_store_si256(reinterpret_cast<__m256i*>(rows), row);
  const auto pair = [&](int low, int high) {
    return _mm256_insertf128_ps(
        _mm256_castps128_ps256(_mm_loadu_ps(table + 4 * rows[low])), _mm_loadu_ps(table + 4 * rows[high]), 1);
  };
  const __m256 r04 = pair(0, 4), r15 = pair(1, 5), r26 = pair(2, 6), r37 = pair(3, 7);
  const __m256 low01 = _mm256_unpacklo_ps(r04, r15), low23 = _mm256_unpacklo_ps(r26, r37);
  const __m256 high01 = _mm256_unpackhi_ps(r04, r15), high23 = _mm256_unpackhi_ps(r26, r37);
  const __m256 c0 = _mm256_shuffle_ps(low01, low23, _MM_SHUFFLE(1, 0, 1, 0));
  const __m256 c1 = _mm256_shuffle_ps(low01, low23, _MM_SHUFFLE(3, 2, 3, 2));
  const __m256 c2 = _mm256_shuffle_ps(high01, high23, _MM_SHUFFLE(1, 0, 1, 0));
  const __m256 c3 = _mm256_shuffle_ps(high01, high23, _MM_SHUFFLE(3, 2, 3, 2));

  __m256 z = _mm256_add_ps(_mm256_mul_ps(c3, t), c2);
  z = _mm256_add_ps(_mm256_mul_ps(z, t), c1);
  z = _mm256_add_ps(_mm256_mul_ps(z, t), c0);
  return _mm256_xor_ps(z, _mm256_castsi256_ps(_mm256_slli_epi32(words, 31)));
}

// The sixteen words of blocks 0 .. 3, given as (0, 2) and (1, 3) in 128-bit halves, to sixteen values in order.
inline void store_blocks(const float* table, __m256i blocks02, __m256i blocks13, float* out) {
  _mm256_storeu_ps(out, normal8(table, _mm256_permute2x128_si256(blocks02, blocks13, 0x20)));
  _mm256_storeu_ps(out + 8, normal8(table, _mm256_permute2x128_si256(blocks02, blocks13, 0x31)));
}

// Whole groups by `FillGroup`, which writes the values of `GROUP` consecutive counters; what is left by single counters,
// or by a group into a buffer where that is less work.
template <int GROUP, void (*FillGroup)(const NoiseRow&, int64_t, float*)>
void fill_row_by_groups(const NoiseRow& row, int64_t x_first, int64_t width, float* out) {
  const int64_t x_end = x_first + width;
  int64_t x = x_first;
  if (x & 3) {
    const int64_t block = x >> 2;
    const int64_t last = x_end - 4 * block < 4 ? x_end - 4 * block : 4;
    fill_block(row, block, x & 3, last, out);
    x = 4 * block + last;
  }
  for (; x_end - x >= 4 * GROUP; x += 4 * GROUP) FillGroup(row, x >> 2, out + (x - x_first));
  if (x_end - x > 8) {
    float buffer[4 * GROUP];
    FillGroup(row, x >> 2, buffer);
    std::memcpy(out + (x - x_first), buffer, static_cast<size_t>(x_end - x) * sizeof(float));
    return;
  }
  for (; x < x_end; x += 4) fill_block(row, x >> 2, 0, x_end - x < 4 ? x_end - x : 4, out + (x - x_first));
}

}  // namespace
}  // namespace raccord
