// `Vector`: the floats one register holds at the level the including file is compiled for (16, 8 or 1), and what the
// attention kernels do with them. Multiply-adds are fused at every level and sums run over kLanes lanes at every width,
// so results do not depend on the level.
//
// All of it is in the unnamed namespace: each level compiles its own copy, and the linker must not merge them.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace raccord {
namespace {

// Rows of scores are padded to a multiple of this, and their sums have this many partial sums.
constexpr int64_t kLanes = 16;

#if defined(__AVX512F__)

struct Vector {
  static constexpr int kWidth = 16;
  __m512 v;
};
inline Vector load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline void store(float* p, Vector a) { _mm512_storeu_ps(p, a.v); }
inline Vector broadcast(float x) { return {_mm512_set1_ps(x)}; }
inline Vector add(Vector a, Vector b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vector subtract(Vector a, Vector b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vector multiply(Vector a, Vector b) { return {_mm512_mul_ps(a.v, b.v)}; }
// a * b + c, rounded once.
inline Vector fused(Vector a, Vector b, Vector c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
// b where either is not a number.
inline Vector larger(Vector a, Vector b) { return {_mm512_max_ps(a.v, b.v)}; }
// 0 where x < limit, else value * 2^n; n is a whole number in the lowest bits of `shifted`, value * 2^n is normal.
inline Vector scale_or_zero(Vector value, Vector shifted, Vector x, Vector limit) {
  const __m512i exponent = _mm512_slli_epi32(_mm512_castps_si512(shifted.v), 23);
  const __m512i scaled = _mm512_add_epi32(_mm512_castps_si512(value.v), exponent);
  return {_mm512_castsi512_ps(_mm512_maskz_mov_epi32(_mm512_cmp_ps_mask(x.v, limit.v, _CMP_NLT_UQ), scaled))};
}
// Rows to columns.
inline void transpose(Vector (&rows)[16]) {
  __m512 pairs[16], fours[16];
  for (int i = 0; i < 16; i += 2) {
    pairs[i] = _mm512_unpacklo_ps(rows[i].v, rows[i + 1].v);
    pairs[i + 1] = _mm512_unpackhi_ps(rows[i].v, rows[i + 1].v);
  }
  for (int i = 0; i < 16; i += 4) {
    for (int k = 0; k < 2; ++k) {
      const __m512d a = _mm512_castps_pd(pairs[i + k]), b = _mm512_castps_pd(pairs[i + k + 2]);
      fours[i + 2 * k] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b));
      fours[i + 2 * k + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
    }
  }
  for (int k = 0; k < 4; ++k) {
    const __m512 even01 = _mm512_shuffle_f32x4(fours[k], fours[k + 4], 0x88);
    const __m512 odd01 = _mm512_shuffle_f32x4(fours[k], fours[k + 4], 0xdd);
    const __m512 even23 = _mm512_shuffle_f32x4(fours[k + 8], fours[k + 12], 0x88);
    const __m512 odd23 = _mm512_shuffle_f32x4(fours[k + 8], fours[k + 12], 0xdd);
    rows[k].v = _mm512_shuffle_f32x4(even01, even23, 0x88);
    rows[k + 4].v = _mm512_shuffle_f32x4(odd01, odd23, 0x88);
    rows[k + 8].v = _mm512_shuffle_f32x4(even01, even23, 0xdd);
    rows[k + 12].v = _mm512_shuffle_f32x4(odd01, odd23, 0xdd);
  }
}
// The lanes of both halves, as two vectors of eight.
inline void halves(const Vector (&lanes)[1], __m256* low, __m256* high) {
  *low = _mm512_castps512_ps256(lanes[0].v);
  *high = _mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(lanes[0].v), 1));
}

#elif defined(__AVX2__)

struct Vector {
  static constexpr int kWidth = 8;
  __m256 v;
};
inline Vector load(const float* p) { return {_mm256_loadu_ps(p)}; }
inline void store(float* p, Vector a) { _mm256_storeu_ps(p, a.v); }
inline Vector broadcast(float x) { return {_mm256_set1_ps(x)}; }
inline Vector add(Vector a, Vector b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Vector subtract(Vector a, Vector b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Vector multiply(Vector a, Vector b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Vector fused(Vector a, Vector b, Vector c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
inline Vector larger(Vector a, Vector b) { return {_mm256_max_ps(a.v, b.v)}; }
inline Vector scale_or_zero(Vector value, Vector shifted, Vector x, Vector limit) {
  const __m256i exponent = _mm256_slli_epi32(_mm256_castps_si256(shifted.v), 23);
  const __m256 scaled = _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(value.v), exponent));
  return {_mm256_and_ps(_mm256_cmp_ps(x.v, limit.v, _CMP_NLT_UQ), scaled)};
}
inline void transpose(Vector (&rows)[8]) {
  __m256 pairs[8], fours[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_ps(rows[i].v, rows[i + 1].v);
    pairs[i + 1] = _mm256_unpackhi_ps(rows[i].v, rows[i + 1].v);
  }
  for (int i = 0; i < 8; i += 4) {
    for (int k = 0; k < 2; ++k) {
      const __m256d a = _mm256_castps_pd(pairs[i + k]), b = _mm256_castps_pd(pairs[i + k + 2]);
      fours[i + 2 * k] = _mm256_castpd_ps(_mm256_unpacklo_pd(a, b));
      fours[i + 2 * k + 1] = _mm256_castpd_ps(_mm256_unpackhi_pd(a, b));
    }
  }
  for (int k = 0; k < 4; ++k) {
    rows[k].v = _mm256_permute2f128_ps(fours[k], fours[k + 4], 0x20);
    rows[k + 4].v = _mm256_permute2f128_ps(fours[k], fours[k + 4], 0x31);
  }
}
inline void halves(const Vector (&lanes)[2], __m256* low, __m256* high) {
  *low = lanes[0].v;
  *high = lanes[1].v;
}

#else

struct Vector {
  static constexpr int kWidth = 1;
  float v;
};
inline Vector load(const float* p) { return {*p}; }
inline void store(float* p, Vector a) { *p = a.v; }
inline Vector broadcast(float x) { return {x}; }
inline Vector add(Vector a, Vector b) { return {a.v + b.v}; }
inline Vector subtract(Vector a, Vector b) { return {a.v - b.v}; }
inline Vector multiply(Vector a, Vector b) { return {a.v * b.v}; }
inline Vector fused(Vector a, Vector b, Vector c) { return {fmaf(a.v, b.v, c.v)}; }
inline Vector larger(Vector a, Vector b) { return {a.v > b.v ? a.v : b.v}; }
inline void transpose(Vector (&)[1]) {}
inline Vector scale_or_zero(Vector value, Vector shifted, Vector x, Vector limit) {
  uint32_t bits, exponent;
  std::memcpy(&bits, &value.v, sizeof bits);
  std::memcpy(&exponent, &shifted.v, sizeof exponent);
  bits += exponent << 23;
  float scaled;
  std::memcpy(&scaled, &bits, sizeof scaled);
  return {x.v < limit.v ? 0.0f : scaled};
}

#endif

constexpr int kVectors = static_cast<int>(kLanes) / Vector::kWidth;

// e^x for x <= 0, within 1 unit in the last place; 0 where the result would be subnormal. e^x = 2^n e^r with
// |r| <= ln(2) / 2, and e^r = 1 + r + r^2 q(r), q fitted for the least relative error (Remez).
inline Vector exponential(Vector x) {
  const Vector least = broadcast(-0x1.5d589ep+6f);
  // Adding 1.5 * 2^23 rounds to a whole number and leaves it in the lowest bits.
  const Vector magic = broadcast(0x1.8p+23f);
  const Vector clamped = larger(least, x);
  const Vector shifted = fused(clamped, broadcast(0x1.715476p+0f), magic);
  const Vector n = subtract(shifted, magic);
  Vector r = fused(n, broadcast(-0x1.62e43p-1f), clamped);
  r = fused(n, broadcast(0x1.05c61p-29f), r);
  Vector e = broadcast(0x1.6ad158p-10f);
  e = fused(e, r, broadcast(0x1.123f3p-7f));
  e = fused(e, r, broadcast(0x1.55584ep-5f));
  e = fused(e, r, broadcast(0x1.55548ap-3f));
  e = fused(e, r, broadcast(0x1.fffffcp-2f));
  e = fused(e, r, broadcast(1.0f));
  e = fused(e, r, broadcast(1.0f));
  return scale_or_zero(e, shifted, x, least);
}

// kLanes partial results to one: the upper half onto the lower, until one is left.
#if defined(__AVX2__)
inline float sum_of(const Vector (&lanes)[kVectors]) {
  __m256 low, high;
  halves(lanes, &low, &high);
  const __m256 eight = _mm256_add_ps(low, high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float largest_of(const Vector (&lanes)[kVectors]) {
  __m256 low, high;
  halves(lanes, &low, &high);
  const __m256 eight = _mm256_max_ps(low, high);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}
#else
inline float sum_of(const Vector (&lanes)[kVectors]) {
  float left[kVectors];
  for (int k = 0; k < kVectors; ++k) left[k] = lanes[k].v;
  for (int half = kVectors / 2; half > 0; half /= 2)
    for (int k = 0; k < half; ++k) left[k] += left[k + half];
  return left[0];
}
inline float largest_of(const Vector (&lanes)[kVectors]) {
  Vector left[kVectors];
  for (int k = 0; k < kVectors; ++k) left[k] = lanes[k];
  for (int half = kVectors / 2; half > 0; half /= 2)
    for (int k = 0; k < half; ++k) left[k] = larger(left[k], left[k + half]);
  return left[0].v;
}
#endif

// The largest of a row of a multiple of kLanes floats.
inline float largest(const float* row, int64_t size) {
  Vector lanes[kVectors];
  for (int k = 0; k < kVectors; ++k) lanes[k] = load(row + k * Vector::kWidth);
  for (int64_t j = kLanes; j < size; j += kLanes)
    for (int k = 0; k < kVectors; ++k) lanes[k] = larger(lanes[k], load(row + j + k * Vector::kWidth));
  return largest_of(lanes);
}

// Replaces row[j] by e^(row[j] - shift), and gives their sum; a row of a multiple of kLanes floats.
inline float exponentiate(float* row, int64_t size, float shift) {
  const Vector shifts = broadcast(shift);
  Vector lanes[kVectors];
  for (int k = 0; k < kVectors; ++k) lanes[k] = broadcast(0.0f);
  for (int64_t j = 0; j < size; j += kLanes) {
    for (int k = 0; k < kVectors; ++k) {
      float* here = row + j + k * Vector::kWidth;
      const Vector e = exponential(subtract(load(here), shifts));
      store(here, e);
      lanes[k] = add(lanes[k], e);
    }
  }
  return sum_of(lanes);
}

}  // namespace
}  // namespace raccord
