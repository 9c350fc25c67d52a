#include <immintrin.h>

#include "gaussian.h"

namespace raccord {
namespace {

// The last 128 rows of the table but one, a coefficient's sixteen at a time: the upper eight octaves of the magnitude,
// where all but one value in 256 lies.
constexpr int32_t kHeldRows = 128, kFirstHeld = 368;

struct Held {
  __m512 rows[4][kHeldRows / 16];

  explicit Held(const float* table) {
    const __m512i even = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(2));
    for (int32_t k = 0; k < kHeldRows / 16; ++k) {
      const float* from = table + 4 * (kFirstHeld + 16 * k);
      const __m512 a = _mm512_loadu_ps(from), b = _mm512_loadu_ps(from + 16);
      const __m512 c = _mm512_loadu_ps(from + 32), d = _mm512_loadu_ps(from + 48);
      const __m512 low01 = _mm512_permutex2var_ps(a, even, b), low23 = _mm512_permutex2var_ps(a, odd, b);
      const __m512 high01 = _mm512_permutex2var_ps(c, even, d), high23 = _mm512_permutex2var_ps(c, odd, d);
      rows[0][k] = _mm512_shuffle_f32x4(low01, high01, 0x44);
      rows[1][k] = _mm512_shuffle_f32x4(low01, high01, 0xee);
      rows[2][k] = _mm512_shuffle_f32x4(low23, high23, 0x44);
      rows[3][k] = _mm512_shuffle_f32x4(low23, high23, 0xee);
    }
  }

  __m512 coefficient(int which, __m512i index, __mmask16 by32, __mmask16 by64) const {
    const __m512* from = rows[which];
    const __m512 low = _mm512_mask_blend_ps(
        by32, _mm512_permutex2var_ps(from[0], index, from[1]), _mm512_permutex2var_ps(from[2], index, from[3]));
    const __m512 high = _mm512_mask_blend_ps(
        by32, _mm512_permutex2var_ps(from[4], index, from[5]), _mm512_permutex2var_ps(from[6], index, from[7]));
    return _mm512_mask_blend_ps(by64, low, high);
  }
};

inline __m512 normal16(const float* table, const Held& held, __m512i words) {
  const __m512i magnitude = _mm512_or_si512(_mm512_srli_epi32(words, 1), _mm512_set1_epi32(1));
  const __m512i bits = _mm512_castps_si512(_mm512_cvtepi32_ps(magnitude));
  const __m512i row = _mm512_sub_epi32(_mm512_srli_epi32(bits, kFractionBits), _mm512_set1_epi32(kFirstRow));
  const __m512i fraction = _mm512_and_si512(bits, _mm512_set1_epi32((1 << kFractionBits) - 1));
  const __m512 t = _mm512_mul_ps(_mm512_cvtepi32_ps(fraction), _mm512_set1_ps(kFractionUnit));
  const __m512i index = _mm512_sub_epi32(row, _mm512_set1_epi32(kFirstHeld));
  const __mmask16 by32 = _mm512_test_epi32_mask(index, _mm512_set1_epi32(32));
  const __mmask16 by64 = _mm512_test_epi32_mask(index, _mm512_set1_epi32(64));
  __m512 c[4];
  for (int k = 0; k < 4; ++k) c[k] = held.coefficient(k, index, by32, by64);
  // The rest is mostly one lane, if any: four loads for it take less time than four gathers (Zen 5).
  uint32_t others = _mm512_cmpge_epu32_mask(index, _mm512_set1_epi32(kHeldRows));
  for (; others != 0; others &= others - 1) {
    const __mmask16 lane = static_cast<__mmask16>(others & (0u - others));
    const float* from = table + 4 * _mm_cvtsi128_si32(_mm512_castsi512_si128(_mm512_maskz_compress_epi32(lane, row)));
    for (int k = 0; k < 4; ++k) c[k] = _mm512_mask_broadcastss_ps(c[k], lane, _mm_load_ss(from + k));
  }
  __m512 z = _mm512_add_ps(_mm512_mul_ps(c[3], t), c[2]);
  z = _mm512_add_ps(_mm512_mul_ps(z, t), c[1]);
  z = _mm512_add_ps(_mm512_mul_ps(z, t), c[0]);
  return _mm512_castsi512_ps(_mm512_xor_si512(_mm512_castps_si512(z), _mm512_slli_epi32(words, 31)));
}

// The keys of each round.
struct Keys {
  __m512i k0[kRounds], k1[kRounds];

  explicit Keys(const NoiseRow& row) {
    uint32_t key0 = row.key0, key1 = row.key1;
    for (int round = 0; round < kRounds; ++round, key0 += kWeyl0, key1 += kWeyl1) {
      k0[round] = _mm512_set1_epi64(key0);
      k1[round] = _mm512_set1_epi64(key1);
    }
  }
};

inline __m512i xor_of(__m512i a, __m512i b, __m512i c) { return _mm512_ternarylogic_epi64(a, b, c, 0x96); }

// The 32 words of eight counters, given by their first two words; as in gaussian_avx2.cpp, each in a 64-bit lane.
inline void draw_words(const NoiseRow& row, const Keys& keys, __m512i c0, __m512i c1, uint32_t* words) {
  const __m512i multiplier0 = _mm512_set1_epi64(kMultiplier0), multiplier1 = _mm512_set1_epi64(kMultiplier1);
  __m512i c2 = _mm512_set1_epi64(row.channel);
  __m512i c3 = _mm512_set1_epi64(row.step);
#pragma GCC unroll 10
  for (int round = 0; round < kRounds; ++round) {
    const __m512i p0 = _mm512_mul_epu32(c0, multiplier0), p1 = _mm512_mul_epu32(c2, multiplier1);
    c0 = xor_of(_mm512_srli_epi64(p1, 32), c1, keys.k0[round]);
    c2 = xor_of(_mm512_srli_epi64(p0, 32), c3, keys.k1[round]);
    c1 = p1;
    c3 = p0;
  }
  const __m512i words01 = _mm512_mask_blend_epi32(0xAAAA, c0, _mm512_slli_epi64(c1, 32));
  const __m512i words23 = _mm512_mask_blend_epi32(0xAAAA, c2, _mm512_slli_epi64(c3, 32));
  const __m512i even = _mm512_unpacklo_epi64(words01, words23), odd = _mm512_unpackhi_epi64(words01, words23);
  const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11), four = _mm512_set1_epi64(4);
  const __m512i high = _mm512_add_epi64(low, four);
  _mm512_storeu_si512(words, _mm512_permutex2var_epi64(even, low, odd));
  _mm512_storeu_si512(words + 16, _mm512_permutex2var_epi64(even, high, odd));
}

// Words drawn before any becomes a normal value. A value hangs on a long chain of operations and a word's chain on none
// before it, so the processor works on several only where they are apart.
constexpr int64_t kWords = 1024;

}  // namespace

void fill_rows_avx512(
    const NoiseRow& row, int64_t x_first, int64_t width, int64_t first, int64_t count, float* out) {
  // Where rows begin and end with a counter, eight counters may be of several rows.
  if ((x_first | width | first) & 3) return fill_rows_avx2(row, x_first, width, first, count, out);
  const Held held(row.table);
  const Keys keys(row);
  const int64_t blocks = width / 4, start = first / 4;
  const __m512i wide = _mm512_set1_epi64(blocks), one = _mm512_set1_epi64(1), eight = _mm512_set1_epi64(8);
  const __m512i origin = _mm512_set1_epi64(x_first >> 2);
  __m512i y = _mm512_set1_epi64(row.y + start / blocks);
  __m512i block = _mm512_add_epi64(_mm512_set1_epi64(start % blocks), _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0));
  uint32_t words[kWords];
  for (int64_t done = 0; done < count; done += kWords) {
    const int64_t some = count - done < kWords ? count - done : kWords;
    for (int64_t i = 0; i < some; i += 32) {
      __mmask8 beyond;
      while ((beyond = _mm512_cmpge_epi64_mask(block, wide)) != 0) {
        block = _mm512_mask_sub_epi64(block, beyond, block, wide);
        y = _mm512_mask_add_epi64(y, beyond, y, one);
      }
      draw_words(row, keys, _mm512_add_epi64(block, origin), y, words + i);
      block = _mm512_add_epi64(block, eight);
    }
    for (int64_t i = 0; i < some; i += 16) {
      const __mmask16 lanes = static_cast<__mmask16>(some - i < 16 ? (1u << (some - i)) - 1 : 0xffffu);
      _mm512_mask_storeu_ps(out + done + i, lanes, normal16(row.table, held, _mm512_loadu_si512(words + i)));
    }
  }
}

}  // namespace raccord
