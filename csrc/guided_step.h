// One row of a guided step, and the shape of a level's row function.
//
// Compiled with -ffp-contract=off, and of separate multiplications, additions and comparisons alone, so that every
// instruction set gives the same bits. The code is in an unnamed namespace, because each level compiles it again with
// its own instructions, and the linker must not take one level's copy for another's.
#pragma once

#include <cstdint>

#include "gaussian.h"
#include "raccord.h"

namespace raccord {

// What the columns of one picture row share.
struct GuidedRow {
  float* out;
  const float* sample;
  const float* uncond;
  const float* cond;
  // one value a column, or the same for all of them
  const float* guidance_map;
  float guidance;
  const double* coefficients;
};

// `noise` holds one value a column, or is null.
using StepRow = void (*)(const GuidedRow& row, const float* noise, int64_t first, int64_t count);

void step_row_scalar(const GuidedRow& row, const float* noise, int64_t first, int64_t count);
void step_row_avx2(const GuidedRow& row, const float* noise, int64_t first, int64_t count);
void step_row_avx512(const GuidedRow& row, const float* noise, int64_t first, int64_t count);

namespace {

// weight * value, and -0.0 where the weight is 0, whatever the value: the one number that changes nothing when it is
// added, not even the sign of a zero. Without a branch, so that loops over it stay single.
struct Term {
  double weight;
  int64_t kept;

  explicit Term(double given) : weight(given != 0.0 ? given : -0.0), kept(given != 0.0 ? -1 : 0) {}

  double of(double value) const {
    int64_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    bits &= kept;
    std::memcpy(&value, &bits, sizeof value);
    return weight * value;
  }
};

template <bool MAP, bool LIMITED, bool NOISE>
inline void step_columns(const GuidedRow& row, const float* noise, int64_t first, int64_t count) {
  float* const out = row.out + first;
  const float* const sample = row.sample + first;
  const float* const uncond = row.uncond + first;
  const float* const cond = row.cond + first;
  const float* const map = MAP ? row.guidance_map + first : nullptr;
  const float scale = row.guidance;
  const Term from_sample(row.coefficients[0]), from_output(row.coefficients[1]);
  const double from_original = row.coefficients[2], from_noise = row.coefficients[3];
  const Term original_sample(row.coefficients[4]), original_output(row.coefficients[5]);
  const double bound = row.coefficients[6];
// `out` may be `sample` itself, never a shifted copy of it: each element is read before it is written.
#pragma GCC ivdep
  for (int64_t i = 0; i < count; ++i) {
    const float difference = cond[i] - uncond[i];
    const float guided = uncond[i] + (MAP ? map[i] : scale) * difference;
    const double x = static_cast<double>(sample[i]), output = static_cast<double>(guided);
    double total = from_sample.of(x) + from_output.of(output);
    if (LIMITED) {
      const double original = original_sample.of(x) + original_output.of(output);
      const double above = original < -bound ? -bound : original;
      total += from_original * (above > bound ? bound : above);
    }
    if (NOISE) total += from_noise * static_cast<double>(noise[i]);
    out[i] = static_cast<float>(total);
  }
}

template <bool MAP, bool LIMITED>
inline void step_with_noise(const GuidedRow& row, const float* noise, int64_t first, int64_t count) {
  if (noise) {
    step_columns<MAP, LIMITED, true>(row, noise, first, count);
  } else {
    step_columns<MAP, LIMITED, false>(row, noise, first, count);
  }
}

inline void step_row(const GuidedRow& row, const float* noise, int64_t first, int64_t count) {
  const bool limited = row.coefficients[2] != 0.0;
  if (row.guidance_map) {
    limited ? step_with_noise<true, true>(row, noise, first, count)
            : step_with_noise<true, false>(row, noise, first, count);
  } else {
    limited ? step_with_noise<false, true>(row, noise, first, count)
            : step_with_noise<false, false>(row, noise, first, count);
  }
}

}  // namespace
}  // namespace raccord
