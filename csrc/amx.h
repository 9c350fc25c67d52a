// Products of bfloat16 matrices in AMX tiles, summed in float32, and exponentials rounded to bfloat16.
//
// A tile is 16 rows of 64 bytes. Rows never meet, so what a row gives does not depend on the others, nor on how many
// there are; sums run over the depth in ascending order.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace raccord {
namespace {

constexpr int64_t kTile = 16;           // rows of a tile, and float32 columns
constexpr int64_t kTileDepth = 32;      // bfloat16 columns
constexpr int64_t kTileElements = 512;  // bfloat16 numbers

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

// ROWS x COLUMNS tiles of sums. `panel` is of blocks of [16, 16, 2], depth after depth, `column` blocks from one column
// to the next.
template <int ROWS, int COLUMNS>
inline void multiply_tiles(
    const uint16_t* rows, int64_t stride, int64_t depth, const uint16_t* panel, int64_t column, float* out,
    int64_t out_stride) {
  const size_t bytes = static_cast<size_t>(stride) * 2, out_bytes = static_cast<size_t>(out_stride) * 4;
  _tile_zero(0);
  if constexpr (COLUMNS == 2) _tile_zero(1);
  if constexpr (ROWS == 2) _tile_zero(2);
  if constexpr (ROWS == 2 && COLUMNS == 2) _tile_zero(3);
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

// `rows` [up to 32, 32 depth] with `columns` tiles of columns, to `out` [up to 32, 16 columns]: `count` rows, rounded up
// to 16.
inline void multiply_panel(
    int64_t count, const uint16_t* rows, int64_t stride, int64_t depth, const uint16_t* panel, int64_t columns,
    float* out, int64_t out_stride) {
  for (int64_t n = 0; n < columns; n += 2) {
    const uint16_t* here = panel + n * depth * kTileElements;
    float* to = out + n * kTile;
    if (count > kTile) {
      if (n + 1 < columns) {
        multiply_tiles<2, 2>(rows, stride, depth, here, depth, to, out_stride);
      } else {
        multiply_tiles<2, 1>(rows, stride, depth, here, depth, to, out_stride);
      }
    } else if (n + 1 < columns) {
      multiply_tiles<1, 2>(rows, stride, depth, here, depth, to, out_stride);
    } else {
      multiply_tiles<1, 1>(rows, stride, depth, here, depth, to, out_stride);
    }
  }
}

inline __mmask16 first_lanes(int64_t count) {
  return count >= 16 ? 0xffff : static_cast<__mmask16>((1u << count) - 1);
}

// 2^x for x <= 0 with a relative error below 5e-7; 2^x = 2^n 2^r with |r| <= 1/2, and 2^r = 1 + r q(r), q fitted for the
// least relative error (Remez).
inline __m512 power_of_two(__m512 x) {
  // below, the result is 0; a NaN stays
  const __m512 y = _mm512_max_ps(_mm512_set1_ps(-200.0f), x);
  const __m512 n = _mm512_roundscale_ps(y, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 r = _mm512_sub_ps(y, n);
  __m512 e = _mm512_set1_ps(0x1.23a5eep-10f);
  e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(0x1.3cbea8p-7f));
  e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(0x1.c74322p-5f));
  e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(0x1.ebfa4ep-3f));
  e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(0x1.62e39ep-1f));
  e = _mm512_fmadd_ps(e, r, _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(e, n);
}

// Writes 32 numbers as bfloat16, rounded to nearest even.
inline void store_pair(uint16_t* to, __m512 low, __m512 high) {
  const __m512bh both = _mm512_cvtne2ps_pbh(high, low);
  _mm512_storeu_si512(to, reinterpret_cast<const __m512i&>(both));
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
