#include "gaussian.h"

#include "cpu_level.h"
#include "raccord.h"

namespace raccord {
namespace {

FillRow fill_row_of(int32_t level) {
  switch (level) {
#ifdef RACCORD_HAS_AVX512
    case RACCORD_AMX:
    case RACCORD_AVX512: return fill_row_avx512;
#endif
#ifdef RACCORD_HAS_AVX2
    case RACCORD_AVX2: return fill_row_avx2;
#endif
    default: return fill_row_scalar;
  }
}

}  // namespace

void fill_row_scalar(const NoiseRow& row, int64_t x_first, int64_t width, float* out) {
  const int64_t x_end = x_first + width;
  for (int64_t x = x_first; x < x_end;) {
    const int64_t block = x >> 2;
    const int64_t first = x & 3;
    const int64_t last = x_end - 4 * block < 4 ? x_end - 4 * block : 4;
    fill_block(row, block, first, last, out + (x - x_first));
    x = 4 * block + last;
  }
}

}  // namespace raccord

int32_t raccord_gaussian(const RaccordGaussian* params, int32_t level) {
  level = raccord::resolve_level(level);
  if (level < 0) return RACCORD_BAD_LEVEL;
  const raccord::FillRow fill_row = raccord::fill_row_of(level);
  for (int64_t r = 0; r < params->streams; ++r) {
    const int64_t* stream = params->stream_rows + 5 * r;
    for (int64_t c = 0; c < params->channels; ++c) {
      for (int64_t y = 0; y < params->height; ++y) {
        const raccord::NoiseRow row = {
            params->table,
            static_cast<uint32_t>(stream[0]),
            static_cast<uint32_t>(stream[1]),
            static_cast<uint32_t>(stream[3] + y),
            static_cast<uint32_t>(c),
            static_cast<uint32_t>(stream[2]),
        };
        float* out = params->out + r * params->stride_stream + c * params->stride_channel + y * params->stride_row;
        fill_row(row, stream[4], params->width, out);
      }
    }
  }
  return RACCORD_OK;
}
