#include "gaussian.h"

#include "cpu_level.h"
#include "raccord.h"

namespace raccord {
namespace {

// By comparison, not equality: levels above AVX-512 have no noise of their own.
FillRows fill_rows_of([[maybe_unused]] int32_t level) {
#ifdef RACCORD_HAS_AVX512
  if (level >= RACCORD_AVX512) return fill_rows_avx512;
#endif
#ifdef RACCORD_HAS_AVX2
  if (level >= RACCORD_AVX2) return fill_rows_avx2;
#endif
  return fill_rows_scalar;
}

void fill_row(const NoiseRow& row, int64_t x_first, int64_t width, float* out) {
  const int64_t x_end = x_first + width;
  for (int64_t x = x_first; x < x_end;) {
    const int64_t block = x >> 2;
    const int64_t first = x & 3;
    const int64_t last = x_end - 4 * block < 4 ? x_end - 4 * block : 4;
    fill_block(row, block, first, last, out + (x - x_first));
    x = 4 * block + last;
  }
}

}  // namespace

void fill_rows_scalar(
    const NoiseRow& row, int64_t x_first, int64_t width, int64_t first, int64_t count, float* out) {
  fill_each_row<fill_row>(row, x_first, width, first, count, out);
}

}  // namespace raccord

int32_t raccord_gaussian(const RaccordGaussian* params, int32_t level) {
  level = raccord::resolve_level(level);
  if (level < 0) return RACCORD_BAD_LEVEL;
  const raccord::FillRows fill_rows = raccord::fill_rows_of(level);
  const int64_t together = params->stride_row == params->width ? params->height : 1;
  for (int64_t r = 0; r < params->streams; ++r) {
    const int64_t* stream = params->stream_rows + 5 * r;
    for (int64_t c = 0; c < params->channels; ++c) {
      for (int64_t y = 0; y < params->height; y += together) {
        const raccord::NoiseRow row = {
            params->table,
            static_cast<uint32_t>(stream[0]),
            static_cast<uint32_t>(stream[1]),
            static_cast<uint32_t>(stream[3] + y),
            static_cast<uint32_t>(c),
            static_cast<uint32_t>(stream[2]),
        };
        float* out = params->out + r * params->stride_stream + c * params->stride_channel + y * params->stride_row;
        fill_rows(row, stream[4], params->width, 0, together * params->width, out);
      }
    }
  }
  return RACCORD_OK;
}
