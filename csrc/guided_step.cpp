#include "guided_step.h"

#include "cpu_level.h"

namespace raccord {
namespace {

// Columns whose noise is held at a time: it stays in the first-level cache.
constexpr int64_t kColumns = 1024;

struct Level {
  StepRow step_row;
  FillRow fill_row;
};

Level level_functions(int32_t level) {
  switch (level) {
#ifdef RACCORD_HAS_AVX512
    case RACCORD_AMX:
    case RACCORD_AVX512: return {step_row_avx512, fill_row_avx512};
#endif
#ifdef RACCORD_HAS_AVX2
    case RACCORD_AVX2: return {step_row_avx2, fill_row_avx2};
#endif
    default: return {step_row_scalar, fill_row_scalar};
  }
}

void step_with_keyed_noise(const Level& level, const GuidedRow& row, const NoiseRow& noise, int64_t x, int64_t width) {
  float columns[kColumns];
  for (int64_t first = 0; first < width; first += kColumns) {
    const int64_t count = width - first < kColumns ? width - first : kColumns;
    level.fill_row(noise, x + first, count, columns);
    level.step_row(row, columns, first, count);
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
    for (int64_t c = 0; c < p.channels; ++c) {
      // Without noise to key by its row, a channel is one long row.
      const bool rows_matter = noisy && p.stream_rows;
      const int64_t height = rows_matter ? p.height : 1;
      const int64_t width = rows_matter ? p.width : p.width * p.height;
      for (int64_t y = 0; y < height; ++y) {
        const int64_t offset = (r * p.channels + c) * p.height * p.width + y * width;
        const GuidedRow row = {
            p.out + offset,
            p.sample + offset,
            p.uncond + offset,
            p.cond + offset,
            p.guidance_is_map ? guidance + y * width : nullptr,
            *guidance,
            coefficients,
        };
        if (rows_matter) {
          const int64_t* stream = p.stream_rows + 5 * r;
          const NoiseRow noise = {
              p.table,
              static_cast<uint32_t>(stream[0]),
              static_cast<uint32_t>(stream[1]),
              static_cast<uint32_t>(stream[3] + y),
              static_cast<uint32_t>(c),
              static_cast<uint32_t>(stream[2]),
          };
          step_with_keyed_noise(level, row, noise, stream[4], width);
        } else {
          level.step_row(row, noisy && p.noise ? p.noise + offset : nullptr, 0, width);
        }
      }
    }
  }
  return RACCORD_OK;
}
