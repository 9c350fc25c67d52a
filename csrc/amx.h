// Products of bfloat16 matrices in AMX tiles, summed in float32, and exponentials rounded to bfloat16.
//
// A tile is 16 rows of 64 bytes. Rows never meet, so what a row gives does not depend on the others, nor on how many
// there are; sums run over the depth in ascending order.
#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstdint>
#include <utility>

namespace raccord {
namespace {

constexpr int64_t kTile = 16;           // rows of a tile, and float32 columns
constexpr int64_t kTileDepth = 32;      // bfloat16 columns
constexpr int64_t kTileElements = 512;  // bfloat16 numbers
constexpr float kLog2E = 0x1.715476p+0f;

// The tiles of this thread, as long as it lives.
class Tiles {
 public:
  Tiles() {
    alignas(64) uint8_t shape[64] = {1};  // palette 1
    for (int tile = 0; tile < 8; ++tile) {
      shape[16 + 2 * tile] = 64;  // bytes a row
      shape[48 + tile] = 16;      // rows
    }
    _tile_loadconfig(shape);
  }
  ~Tiles() { _tile_release(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

// ROWS x COLUMNS tiles of sums, added to what `out` holds if ADD. `panel` is of blocks of [16, 16, 2], depth after
// depth, `column` blocks from one column to the next.
template <bool ADD, int ROWS, int COLUMNS>
inline void multiply_tiles(
    const uint16_t* rows, int64_t stride, int64_t depth, const uint16_t* panel, int64_t column, float* out,
    int64_t out_stride) {
  const size_t bytes = static_cast<size_t>(stride) * 2, out_bytes = static_cast<size_t>(out_stride) * 4;
  if constexpr (ADD) {
    _tile_loadd(0, out, out_bytes);
    if constexpr (COLUMNS == 2) _tile_loadd(1, out + kTile, out_bytes);
    if constexpr (ROWS == 2) _tile_loadd(2, out + kTile * out_stride, out_bytes);
    if constexpr (ROWS == 2 && COLUMNS == 2) _tile_loadd(3, out + kTile * out_stride + kTile, out_bytes);
  } else {
    _tile_zero(0);
    if constexpr (COLUMNS == 2) _tile_zero(1);
    if constexpr (ROWS == 2) _tile_zero(2);
    if constexpr (ROWS == 2 && COLUMNS == 2) _tile_zero(3);
  }
  for (int64_t k = 0; k < depth; ++k) {
    _tile_loadd(4, rows + k * kTileDepth, bytes);
    _tile_loadd(6, panel + k * kTileElements, 64);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (COLUMNS == 2) {
      _tile_loadd(7, panel + (column + k) * kTileElements, 64);
      _tile_dpbf16ps(1, 4, 7);
    }
    if constexpr (ROWS == 2) {
      _tile_loadd(5, rows + kTile * stride + k * kTileDepth, bytes);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (COLUMNS == 2) _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, out, out_bytes);
  if constexpr (COLUMNS == 2) _tile_stored(1, out + kTile, out_bytes);
  if constexpr (ROWS == 2) {
    _tile_stored(2, out + kTile * out_stride, out_bytes);
    if constexpr (COLUMNS == 2) _tile_stored(3, out + kTile * out_stride + kTile, out_bytes);
  }
}

// `rows` [up to 32, 32 depth] with `columns` tiles of columns, to `out` [up to 32, 16 columns], or added to it: `count`
// rows, rounded up to 16.
template <bool ADD = false>
inline void multiply_panel(
    int64_t count, const uint16_t* rows, int64_t stride, int64_t depth, const uint16_t* panel, int64_t columns,
    float* out, int64_t out_stride) {
  for (int64_t n = 0; n < columns; n += 2) {
    const uint16_t* here = panel + n * depth * kTileElements;
    float* to = out + n * kTile;
    if (count > kTile) {
      if (n + 1 < columns) {
        multiply_tiles<ADD, 2, 2>(rows, stride, depth, here, depth, to, out_stride);
      } else {
        multiply_tiles<ADD, 2, 1>(rows, stride, depth, here, depth, to, out_stride);
      }
    } else if (n + 1 < columns) {
      multiply_tiles<ADD, 1, 2>(rows, stride, depth, here, depth, to, out_stride);
    } else {
      multiply_tiles<ADD, 1, 1>(rows, stride, depth, here, depth, to, out_stride);
    }
  }
}

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
