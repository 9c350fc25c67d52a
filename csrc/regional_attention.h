// What regional_attention.cpp hands to the levels: one head, some positions of one row.
#pragma once

#include <cstdint>

#include "raccord.h"

namespace raccord {

struct RegionalTile {
  const RaccordRegionalAttention* params;
  int64_t row, head, first, count;
  float* scratch;  // scratch_floats(...) of the largest tile, aligned to 64 bytes
};

using AttendRegional = void (*)(const RegionalTile& tile);

void attend_regional_scalar(const RegionalTile& tile);
void attend_regional_avx2(const RegionalTile& tile);
void attend_regional_avx512(const RegionalTile& tile);

// Room for what a tile notes about a segment.
constexpr int64_t kSpanFloats = 32;

}  // namespace raccord
