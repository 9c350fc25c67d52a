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

// Four counters a register, each word in the low half of a 64-bit lane, where vpmuludq wants it; what the products
// leave in the high halves is never read.
struct Counters {
  __m256i c0, c1, c2, c3;
};

inline void philox_round(Counters& c, __m256i k0, __m256i k1) {
  const __m256i p0 = _mm256_mul_epu32(c.c0, _mm256_set1_epi64x(kMultiplier0));
  const __m256i p1 = _mm256_mul_epu32(c.c2, _mm256_set1_epi64x(kMultiplier1));
  c.c0 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p1, 32), c.c1), k0);
  c.c2 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64(p0, 32), c.c3), k1);
  c.c1 = p1;
  c.c3 = p0;
}

inline __m256i pack(__m256i low, __m256i high) {
  return _mm256_blend_epi32(low, _mm256_slli_epi64(high, 32), 0xAA);
}

inline void store(const float* table, const Counters& c, float* out) {
  const __m256i words01 = pack(c.c0, c.c1), words23 = pack(c.c2, c.c3);
  store_blocks(table, _mm256_unpacklo_epi64(words01, words23), _mm256_unpackhi_epi64(words01, words23), out);
}

// Eight counters, in two registers to hide the latency of the multiplications.
inline void fill_group(const NoiseRow& row, int64_t block, float* out) {
  Counters a, b;
  a.c0 = _mm256_add_epi64(_mm256_set1_epi64x(block), _mm256_set_epi64x(3, 2, 1, 0));
  b.c0 = _mm256_add_epi64(a.c0, _mm256_set1_epi64x(4));
  a.c1 = b.c1 = _mm256_set1_epi64x(row.y);
  a.c2 = b.c2 = _mm256_set1_epi64x(row.channel);
  a.c3 = b.c3 = _mm256_set1_epi64x(row.step);
  uint32_t key0 = row.key0, key1 = row.key1;
  for (int round = 0; round < kRounds; ++round) {
    const __m256i k0 = _mm256_set1_epi64x(key0), k1 = _mm256_set1_epi64x(key1);
    philox_round(a, k0, k1);
    philox_round(b, k0, k1);
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  store(row.table, a, out);
  store(row.table, b, out + 16);
}

// Whole groups; what is left by single counters, or by a group into a buffer where that is less work.
void fill_row(const NoiseRow& row, int64_t x_first, int64_t width, float* out) {
  constexpr int64_t kGroup = 8;
  const int64_t x_end = x_first + width;
  int64_t x = x_first;
  if (x & 3) {
    const int64_t block = x >> 2;
    const int64_t last = x_end - 4 * block < 4 ? x_end - 4 * block : 4;
    fill_block(row, block, x & 3, last, out);
    x = 4 * block + last;
  }
  for (; x_end - x >= 4 * kGroup; x += 4 * kGroup) fill_group(row, x >> 2, out + (x - x_first));
  if (x_end - x > 8) {
    float buffer[4 * kGroup];
    fill_group(row, x >> 2, buffer);
    std::memcpy(out + (x - x_first), buffer, static_cast<size_t>(x_end - x) * sizeof(float));
    return;
  }
  for (; x < x_end; x += 4) fill_block(row, x >> 2, 0, x_end - x < 4 ? x_end - x : 4, out + (x - x_first));
}

}  // namespace

void fill_rows_avx2(const NoiseRow& row, int64_t x_first, int64_t width, int64_t first, int64_t count, float* out) {
  fill_each_row<fill_row>(row, x_first, width, first, count, out);
}

}  // namespace raccord
