#include "guided_step.h"

#include "cpu_level.h"

namespace raccord {
namespace {

// Elements whose noise is held at a time: it stays in the first-level cache.
constexpr int64_t kElements = 4096;

struct Level {
  StepRow step_row;
  FillRows fill_rows;
};

// By comparison, as in gaussian.cpp.
Level level_functions([[maybe_unused]] int32_t level) {
#ifdef RACCORD_HAS_AVX512
  if (level >= RACCORD_AVX512) return {step_row_avx512, fill_rows_avx512};
#endif
#ifdef RACCORD_HAS_AVX2
  if (level >= RACCORD_AVX2) return {step_row_avx2, fill_rows_avx2};
#endif
  return {step_row_scalar, fill_rows_scalar};
}

void step_with_keyed_noise(
    const Level& level, const GuidedRow& row, const NoiseRow& noise, int64_t x_first, int64_t width, int64_t size) {
  float elements[kElements];
  for (int64_t first = 0; first < size; first += kElements) {
    const int64_t count = size - first < kElements ? size - first : kElements;
    level.fill_rows(noise, x_first, width, first, count, elements);
    level.step_row(row, elements, first, count);
  }
}

}  // namespace

void step_row_scalar(const GuidedRow& row, const float* noise, int64_t first, int64_t count) {
  step_row(row, noise, first, count);
}

}  // namespace raccord

int32_t raccord_guided_step(const RaccordGuidedStep* params, int32_t number) {
  using namespace raccord;
  number = resolve_level(number);
  if (number < 0) return RACCORD_BAD_LEVEL;
  const Level level = level_functions(number);
  const RaccordGuidedStep& p = *params;
  for (int64_t r = 0; r < p.rows; ++r) {
    const double* coefficients = p.coefficients + r * p.coefficients_stride;
    const bool noisy = coefficients[3] != 0.0;
    const float* guidance = p.guidance + r * p.guidance_stride;
    const int64_t size = p.height * p.width;
    for (int64_t c = 0; c < p.channels; ++c) {
      // a channel is one long row
      const int64_t offset = (r * p.channels + c) * size;
      const GuidedRow row = {
          p.out + offset,
          p.sample + offset,
          p.uncond + offset,
          p.cond + offset,
          p.guidance_is_map ? guidance : nullptr,
          *guidance,
          coefficients,
      };
      if (noisy && p.stream_rows) {
        const int64_t* stream = p.stream_rows + 5 * r;
        const NoiseRow noise = {
            p.table,
            static_cast<uint32_t>(stream[0]),
            static_cast<uint32_t>(stream[1]),
            static_cast<uint32_t>(stream[3]),
            static_cast<uint32_t>(c),
            static_cast<uint32_t>(stream[2]),
        };
        step_with_keyed_noise(level, row, noise, stream[4], p.width, size);
      } else {
        level.step_row(row, noisy && p.noise ? p.noise + offset : nullptr, 0, size);
      }
    }
  }
  return RACCORD_OK;
}
