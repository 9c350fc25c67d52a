// Philox4x32-10 and the inverse normal distribution, one counter at a time, and the shape of a row function.
//
// Compiled with -ffp-contract=off: a fused multiply-add would change bits. The scalar code is `static`, because
// gaussian_avx2.cpp compiles it again with wider instructions, and the linker must not take
// their copy for the scalar level.
#pragma once

#include <cstdint>
#include <cstring>

namespace raccord {

// Noise of one row of one channel of one stream.
struct NoiseRow {
  const float* table;
  uint32_t key0, key1;
  uint32_t y, channel, step;
};

// Writes the elements x_first .. x_first + width - 1 of the row.
using FillRow = void (*)(const NoiseRow& row, int64_t x_first, int64_t width, float* out);

// The rows from `row` downwards, each of the elements x_first .. x_first + width - 1, laid end to end: writes `count`
// elements of that, from `first` on.
using FillRows =
    void (*)(const NoiseRow& row, int64_t x_first, int64_t width, int64_t first, int64_t count, float* out);

void fill_rows_scalar(
    const NoiseRow& row, int64_t x_first, int64_t width, int64_t first, int64_t count, float* out);
void fill_rows_avx2(const NoiseRow& row, int64_t x_first, int64_t width, int64_t first, int64_t count, float* out);
void fill_rows_avx512(
    const NoiseRow& row, int64_t x_first, int64_t width, int64_t first, int64_t count, float* out);

constexpr uint32_t kMultiplier0 = 0xD2511F53u, kMultiplier1 = 0xCD9E8D57u;
constexpr uint32_t kWeyl0 = 0x9E3779B9u, kWeyl1 = 0xBB67AE85u;
constexpr int kRounds = 10;
// The table has 16 rows an octave: a float's bits above the lowest 19, less those of 1.0, are the row.
constexpr int kFractionBits = 19;
constexpr int32_t kFirstRow = 127 << 4;
constexpr float kFractionUnit = 1.0f / (1 << kFractionBits);

static inline void philox4x32(const NoiseRow& row, uint32_t block, uint32_t words[4]) {
  uint32_t c0 = block, c1 = row.y, c2 = row.channel, c3 = row.step;
  uint32_t k0 = row.key0, k1 = row.key1;
  for (int round = 0; round < kRounds; ++round) {
    const uint64_t p0 = static_cast<uint64_t>(kMultiplier0) * c0;
    const uint64_t p1 = static_cast<uint64_t>(kMultiplier1) * c2;
    c0 = static_cast<uint32_t>(p1 >> 32) ^ c1 ^ k0;
    c1 = static_cast<uint32_t>(p1);
    c2 = static_cast<uint32_t>(p0 >> 32) ^ c3 ^ k1;
    c3 = static_cast<uint32_t>(p0);
    k0 += kWeyl0;
    k1 += kWeyl1;
  }
  words[0] = c0;
  words[1] = c1;
  words[2] = c2;
  words[3] = c3;
}

static inline float normal(const float* table, uint32_t word) {
  const float magnitude = static_cast<float>(static_cast<int32_t>(word >> 1 | 1u));
  int32_t bits;
  std::memcpy(&bits, &magnitude, sizeof bits);
  const float* c = table + 4 * static_cast<int64_t>((bits >> kFractionBits) - kFirstRow);
  const float t = static_cast<float>(bits & ((1 << kFractionBits) - 1)) * kFractionUnit;
  const float z = ((c[3] * t + c[2]) * t + c[1]) * t + c[0];
  uint32_t signed_bits;
  std::memcpy(&signed_bits, &z, sizeof signed_bits);
  signed_bits ^= word << 31;
  float result;
  std::memcpy(&result, &signed_bits, sizeof result);
  return result;
}

// The elements of one counter, from `first` up to (not including) `last`, both in 0 .. 4.
static inline void fill_block(const NoiseRow& row, int64_t block, int64_t first, int64_t last, float* out) {
  uint32_t words[4];
  philox4x32(row, static_cast<uint32_t>(block), words);
  for (int64_t word = first; word < last; ++word) out[word - first] = normal(row.table, words[word]);
}

// One row after the other.
template <FillRow FILL>
static inline void fill_each_row(
    const NoiseRow& row, int64_t x_first, int64_t width, int64_t first, int64_t count, float* out) {
  NoiseRow here = row;
  here.y += static_cast<uint32_t>(first / width);
  for (int64_t x = first % width; count > 0; x = 0, ++here.y) {
    const int64_t some = width - x < count ? width - x : count;
    FILL(here, x_first + x, some, out);
    count -= some;
    out += some;
  }
}

}  // namespace raccord
