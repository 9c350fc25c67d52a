// Products of bfloat16 matrices in AMX tiles, summed in float32. A tile is 16 rows of 64 bytes.
#pragma once

#include "bfloat16.h"

namespace raccord {
namespace {

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

// ROWS x COLUMNS tiles of sums, added to what `out` holds if ADD; `column` blocks from one column to the next.
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

// Products as bfloat16.h describes them; up to 32 rows.
struct Amx {
  using Scope = Tiles;

  template <bool ADD = false>
  static void multiply(
      int64_t count, const uint16_t* rows, int64_t stride, int64_t depth, const uint16_t* panel, int64_t columns,
      float* out, int64_t out_stride) {
    const int64_t blocks = (depth + kTileDepth - 1) / kTileDepth;
    for (int64_t n = 0; n < columns; n += 2) {
      const uint16_t* here = panel + n * blocks * kTileElements;
      float* to = out + n * kTile;
      if (count > kTile) {
        if (n + 1 < columns) {
          multiply_tiles<ADD, 2, 2>(rows, stride, blocks, here, blocks, to, out_stride);
        } else {
          multiply_tiles<ADD, 2, 1>(rows, stride, blocks, here, blocks, to, out_stride);
        }
      } else if (n + 1 < columns) {
        multiply_tiles<ADD, 1, 2>(rows, stride, blocks, here, blocks, to, out_stride);
      } else {
        multiply_tiles<ADD, 1, 1>(rows, stride, blocks, here, blocks, to, out_stride);
      }
    }
  }
};

}  // namespace
}  // namespace raccord
