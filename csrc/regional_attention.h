// What regional_attention.cpp hands to the levels: some heads and positions of one row.
#pragma once

#include <cstdint>

#include "raccord.h"

namespace raccord {

struct RegionalTile {
  const RaccordRegionalAttention* params;
  int64_t row, first_head, heads, first, count;
  float* scratch;  // scratch_floats(...) of the largest tile, aligned to 64 bytes
};

using AttendRegional = void (*)(const RegionalTile& tile);

void attend_regional_scalar(const RegionalTile& tile);
void attend_regional_avx2(const RegionalTile& tile);
void attend_regional_avx512(const RegionalTile& tile);
void attend_regional_avx512bf16(const RegionalTile& tile);
void attend_regional_amx(const RegionalTile& tile);

// Room for what a tile notes about a segment.
constexpr int64_t kSpanFloats = 32;
// Positions are listed, and their scores kept, up to the next multiple of this.
constexpr int64_t kListed = 16;
// bfloat16 is multiplied by blocks of so great a depth, for this many positions at a time.
constexpr int64_t kPairs = 32;

}  // namespace raccord
