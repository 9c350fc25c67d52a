// What bfloat16 attention needs where products are of bfloat16 numbers, whatever multiplies them: the layout of its
// panels, exponentials rounded to bfloat16, rows copied and stored.
//
// Panels are of blocks of [16, 16, 2] (depth / 2, column, depth % 2), depth after depth, then column after column. What
// multiplies them is a class of
//
//   Scope                                  made by a thread before it multiplies, and kept until it has
//   multiply<ADD>(count, rows, stride, depth, panel, columns, out, out_stride)
//
// which writes the products of `rows` [count, depth] with `columns` blocks of columns to `out` [count, 16 columns], or
// adds them; `count` is at most 32. Rows are zero from their depth to a multiple of 32, and all have room for a count
// rounded up to 16. Rows never meet, so what a row gives does not depend on the others, nor on how many there are; sums
// run over the depth in the same order always. Numbers below 2^-126 count as 0, also as a sum.
#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <utility>

namespace raccord {
namespace {

constexpr int64_t kTile = 16;           // columns of a block, and the rows that products are rounded up to
constexpr int64_t kTileDepth = 32;      // depth of a block
constexpr int64_t kTileElements = 512;  // bfloat16 numbers of a block
constexpr float kLog2E = 0x1.715476p+0f;

inline __mmask16 first_lanes(int64_t count) {
  return count >= 16 ? 0xffff : static_cast<__mmask16>((1u << count) - 1);
}

// 2^x with a relative error below 2.7e-6, a thousandth of bfloat16's rounding: 2^x = 2^n 2^r with 0 <= r < 1, and 2^r a
// polynomial of degree 4, fitted for the least relative error (Remez). 0 or infinity where float32 ends.
inline __m512 power_of_two(__m512 x) {
  const __m512 r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
  __m512 e = _mm512_set1_ps(0x1.bb7cd4p-7f);
  e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(0x1.aa13fp-5f));
  e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(0x1.ee798ap-3f));
  e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(0x1.62d166p-1f));
  e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(0x1.00002cp+0f));
  return _mm512_scalef_ps(e, x);
}

// Writes 32 numbers as bfloat16, rounded to nearest even.
inline void store_pair(uint16_t* to, __m512 low, __m512 high) {
  const __m512bh both = _mm512_cvtne2ps_pbh(high, low);
  _mm512_storeu_si512(to, reinterpret_cast<const __m512i&>(both));
}

// Exponentials of `columns` vectors of sums, times `scale` less `shift`, as bfloat16, and zeros up to a multiple of 32;
// sixteen partial sums of them. COLUMNS = columns, so that the compiler can unroll, or 0.
template <int64_t COLUMNS>
inline __m512 exponentiate_columns(
    int64_t columns, const float* sums, __mmask16 last, float scale, float shift, uint16_t* out) {
  const int64_t whole = (COLUMNS > 0 ? COLUMNS : columns) - 1;
  const __m512 steep = _mm512_set1_ps(scale * kLog2E), less = _mm512_set1_ps(-shift * kLog2E);
  const auto exponential = [=](int64_t j) {
    return power_of_two(_mm512_fmadd_ps(_mm512_loadu_ps(sums + j * kTile), steep, less));
  };
  __m512 total = _mm512_setzero_ps();
  for (int64_t j = 0; j + 1 < whole; j += 2) {
    const __m512 even = exponential(j), odd = exponential(j + 1);
    total = _mm512_add_ps(total, _mm512_add_ps(even, odd));
    store_pair(out + j * kTile, even, odd);
  }
  __m512 even = _mm512_setzero_ps(), odd = _mm512_maskz_mov_ps(last, exponential(whole));
  if (whole % 2 == 1) {
    even = exponential(whole - 1);
  } else {
    std::swap(even, odd);
  }
  store_pair(out + whole / 2 * 2 * kTile, even, odd);
  return _mm512_add_ps(total, _mm512_add_ps(even, odd));
}

inline __m512 exponentiate_row(
    int64_t columns, const float* sums, int64_t tokens, float scale, float shift, uint16_t* out) {
  const __mmask16 last = first_lanes(tokens - (columns - 1) * kTile);
  switch (columns) {
    case 1: return exponentiate_columns<1>(columns, sums, last, scale, shift, out);
    case 5: return exponentiate_columns<5>(columns, sums, last, scale, shift, out);
    case 12: return exponentiate_columns<12>(columns, sums, last, scale, shift, out);
    default: return exponentiate_columns<0>(columns, sums, last, scale, shift, out);
  }
}

inline float largest_score(int64_t columns, const float* sums, int64_t tokens, float scale) {
  const __m512 lowest = _mm512_set1_ps(-HUGE_VALF);
  __m512 most = lowest;
  for (int64_t j = 0; j < columns; ++j) {
    const __mmask16 lanes = first_lanes(tokens - j * kTile);
    const __m512 score = _mm512_mul_ps(_mm512_set1_ps(scale), _mm512_loadu_ps(sums + j * kTile));
    most = _mm512_max_ps(most, _mm512_mask_mov_ps(lowest, lanes, score));
  }
  return _mm512_reduce_max_ps(most);
}

// The sum of each of sixteen vectors; the order of additions is the same for all.
inline __m512 sum_each(const __m512 (&rows)[kTile]) {
  __m512 pairs[8], fours[4], eights[2];
  for (int i = 0; i < 8; ++i) {
    const __m512 a = rows[2 * i], b = rows[2 * i + 1];
    pairs[i] = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  }
  for (int i = 0; i < 4; ++i) {
    const __m512d a = _mm512_castps_pd(pairs[2 * i]), b = _mm512_castps_pd(pairs[2 * i + 1]);
    fours[i] = _mm512_add_ps(
        _mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
  }
  for (int i = 0; i < 2; ++i) {
    const __m512 a = fours[2 * i], b = fours[2 * i + 1];
    eights[i] = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
  }
  return _mm512_add_ps(
      _mm512_shuffle_f32x4(eights[0], eights[1], 0x88), _mm512_shuffle_f32x4(eights[0], eights[1], 0xdd));
}

// Between these, a row's exponentials need no shift: what float32 loses at its ends is nothing beside their total.
constexpr float kLeastTotal = 0x1p-60f, kMostTotal = 0x1p+60f;

// Exponentials of the scores (sums times scale, plus bias) of `count` rows, up to 16, less each row's shift, to `out`,
// and added to the row's total. While the total is within bounds the shift stays, and nobody looks for the largest score
// (FlashAttention-4, too, rescales only where it must); else the largest so far becomes the shift, and
// rescale(i, factor) hears by what the row's earlier exponentials are to be multiplied. A new row has shift and total 0.
template <class Rescale>
inline void exponentiate_rows(
    int64_t count, int64_t columns, const float* sums, int64_t tokens, float scale, float bias, float* shift,
    float* total, uint16_t* out, int64_t out_stride, const Rescale& rescale) {
  __m512 rows[kTile];
  for (int64_t i = 0; i < count; ++i) {
    rows[i] = exponentiate_row(
        columns, sums + i * columns * kTile, tokens, scale, shift[i] - bias, out + i * out_stride);
  }
  for (int64_t i = count; i < kTile; ++i) rows[i] = _mm512_setzero_ps();
  const __mmask16 given = first_lanes(count);
  const __m512 before = _mm512_maskz_loadu_ps(given, total), now = _mm512_add_ps(before, sum_each(rows));
  const __mmask16 low = _mm512_cmp_ps_mask(now, _mm512_set1_ps(kLeastTotal), _CMP_NGE_UQ);
  const __mmask16 high = _mm512_cmp_ps_mask(now, _mm512_set1_ps(kMostTotal), _CMP_NLE_UQ);
  _mm512_mask_storeu_ps(total, static_cast<__mmask16>(given & ~(low | high)), now);
  for (uint32_t left = given & (low | high); left != 0; left &= left - 1) {
    const int64_t i = __builtin_ctz(left);
    const float* row = sums + i * columns * kTile;
    const float highest = largest_score(columns, row, tokens, scale) + bias;
    const float most = total[i] > 0.0f && shift[i] > highest ? shift[i] : highest;
    float factor = 0.0f;
    if (total[i] > 0.0f) factor = _mm512_cvtss_f32(power_of_two(_mm512_set1_ps((shift[i] - most) * kLog2E)));
    shift[i] = most;
    const __m512 lanes = exponentiate_row(columns, row, tokens, scale, most - bias, out + i * out_stride);
    total[i] = total[i] * factor + _mm512_reduce_add_ps(lanes);
    rescale(i, factor);
  }
}

// `count` float32 numbers as bfloat16.
inline void store_bfloat16(uint16_t* to, const float* from, int64_t count) {
  for (int64_t d = 0; d < count; d += 16) {
    const __m256bh some = _mm512_cvtneps_pbh(_mm512_loadu_ps(from + d));
    _mm256_mask_storeu_epi16(to + d, first_lanes(count - d), reinterpret_cast<const __m256i&>(some));
  }
}

// `count` bfloat16 numbers, and zeros up to a multiple of 32.
inline void copy_padded(uint16_t* to, const uint16_t* from, int64_t count) {
  for (int64_t d = 0; d < count; d += kTileDepth) {
    const __mmask32 lanes = count - d >= 32 ? 0xffffffffu : (1u << (count - d)) - 1;
    _mm512_storeu_si512(to + d, _mm512_maskz_loadu_epi16(lanes, from + d));
  }
}

}  // namespace
}  // namespace raccord
