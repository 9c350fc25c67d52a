#include "gaussian_vector.h"

namespace raccord {
namespace {

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

}  // namespace

void fill_row_avx2(const NoiseRow& row, int64_t x_first, int64_t width, float* out) {
  fill_row_by_groups<8, fill_group>(row, x_first, width, out);
}

}  // namespace raccord
