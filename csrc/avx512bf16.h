// Products of bfloat16 matrices by AVX512-BF16, which multiplies pairs and adds them to sums in float32: twice what
// float32's own multiply-adds do. For processors without AMX.
#pragma once

#include "bfloat16.h"
#include "product.h"

namespace raccord {
namespace {

// Products as bfloat16.h describes them.
struct Avx512Bf16 {
  // nothing to keep
  struct Scope {};

  template <bool ADD = false>
  static void multiply(
      int64_t count, const uint16_t* rows, int64_t stride, int64_t depth, const uint16_t* panel, int64_t columns,
      float* out, int64_t out_stride) {
    const int64_t column = round_up(depth, kTileDepth) * kTile, pairs = (depth + 1) / 2;
    in_strips<kMostColumns>(columns, [&](auto width, int64_t first) {
      constexpr int kColumns = decltype(width)::value, kRows = kColumns > 3 ? 4 : 8;
      for (int64_t i = 0; i < count; i += kRows) {
        multiply_block<ADD, kRows, kColumns>(
            rows + i * stride, stride, pairs, panel + first * column, column, out + i * out_stride + first * kTile,
            out_stride);
      }
    });
  }

 private:
  // ROWS rows of sums, the columns' vectors and one row's pair fill the registers.
  static constexpr int kMostColumns = 5;

  // `column` elements of the panel from one column to the next.
  template <bool ADD, int ROWS, int COLUMNS>
  static void multiply_block(
      const uint16_t* rows, int64_t stride, int64_t pairs, const uint16_t* panel, int64_t column, float* out,
      int64_t out_stride) {
    __m512 sums[ROWS][COLUMNS];
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 16
      for (int n = 0; n < COLUMNS; ++n) {
        sums[i][n] = ADD ? _mm512_loadu_ps(out + i * out_stride + n * kTile) : _mm512_setzero_ps();
      }
    for (int64_t pair = 0; pair < pairs; ++pair) {
      Vector b[COLUMNS];
#pragma GCC unroll 16
      for (int n = 0; n < COLUMNS; ++n) {
        b[n].v = _mm512_castsi512_ps(_mm512_loadu_si512(panel + n * column + pair * 2 * kTile));
        keep_in_register(b[n]);
      }
#pragma GCC unroll 16
      for (int i = 0; i < ROWS; ++i) {
        int32_t both;
        std::memcpy(&both, rows + i * stride + 2 * pair, sizeof both);
        const __m512i a = _mm512_set1_epi32(both);
#pragma GCC unroll 16
        for (int n = 0; n < COLUMNS; ++n) {
          sums[i][n] = _mm512_dpbf16_ps(
              sums[i][n], reinterpret_cast<const __m512bh&>(a), reinterpret_cast<const __m512bh&>(b[n].v));
        }
      }
    }
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 16
      for (int n = 0; n < COLUMNS; ++n) _mm512_storeu_ps(out + i * out_stride + n * kTile, sums[i][n]);
  }
};

}  // namespace
}  // namespace raccord
