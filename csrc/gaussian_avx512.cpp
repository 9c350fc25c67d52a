#include "gaussian_vector.h"

namespace raccord {
namespace {

// As in gaussian_avx2.cpp, eight counters a register.
inline void fill_group(const NoiseRow& row, int64_t block, float* out) {
  const __m512i multiplier0 = _mm512_set1_epi64(kMultiplier0), multiplier1 = _mm512_set1_epi64(kMultiplier1);
  __m512i c0 = _mm512_add_epi64(_mm512_set1_epi64(block), _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0));
  __m512i c1 = _mm512_set1_epi64(row.y);
  __m512i c2 = _mm512_set1_epi64(row.channel);
  __m512i c3 = _mm512_set1_epi64(row.step);
  uint32_t key0 = row.key0, key1 = row.key1;
  for (int round = 0; round < kRounds; ++round) {
    const __m512i p0 = _mm512_mul_epu32(c0, multiplier0), p1 = _mm512_mul_epu32(c2, multiplier1);
    c0 = _mm512_xor_si512(_mm512_xor_si512(_mm512_srli_epi64(p1, 32), c1), _mm512_set1_epi64(key0));
    c2 = _mm512_xor_si512(_mm512_xor_si512(_mm512_srli_epi64(p0, 32), c3), _mm512_set1_epi64(key1));
    c1 = p1;
    c3 = p0;
    key0 += kWeyl0;
    key1 += kWeyl1;
  }
  const __m512i words01 = _mm512_mask_blend_epi32(0xAAAA, c0, _mm512_slli_epi64(c1, 32));
  const __m512i words23 = _mm512_mask_blend_epi32(0xAAAA, c2, _mm512_slli_epi64(c3, 32));
  const __m512i even = _mm512_unpacklo_epi64(words01, words23), odd = _mm512_unpackhi_epi64(words01, words23);
  store_blocks(row.table, _mm512_castsi512_si256(even), _mm512_castsi512_si256(odd), out);
  store_blocks(row.table, _mm512_extracti64x4_epi64(even, 1), _mm512_extracti64x4_epi64(odd, 1), out + 16);
}

}  // namespace

void fill_row_avx512(const NoiseRow& row, int64_t x_first, int64_t width, float* out) {
  fill_row_by_groups<8, fill_group>(row, x_first, width, out);
}

}  // namespace raccord
