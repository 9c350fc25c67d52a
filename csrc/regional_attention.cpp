#include <atomic>
#include <cmath>
#include <cstdlib>

#include "cpu_level.h"
#include "parallel.h"
#include "regional_attention_float.h"

namespace raccord {
namespace {

// A tile's scores stay in the second-level cache; nothing depends on the number of positions in a tile.
constexpr int64_t kMostPositions = 64;
constexpr int64_t kScoreFloats = 96 * 1024;
// Work that a thread must have to be worth its start, in multiply-adds.
constexpr int64_t kLeastWork = 4 << 20;
constexpr int64_t kPiecesEach = 4;
// Keys and values that one piece after the other reads.
constexpr int64_t kPanelBytes = 512 * 1024;

AttendRegional attend_regional_of(int32_t level, bool paired) {
  switch (level) {
#ifdef RACCORD_HAS_AMX
    case RACCORD_AMX:
      if (paired) return attend_regional_amx;
      [[fallthrough]];
#endif
#ifdef RACCORD_HAS_AVX512BF16
    case RACCORD_AVX512BF16:
      if (paired) return attend_regional_avx512bf16;
      [[fallthrough]];
#endif
#ifdef RACCORD_HAS_AVX512
    case RACCORD_AVX512: return attend_regional_avx512;
#endif
#ifdef RACCORD_HAS_AVX2
    case RACCORD_AVX2: return attend_regional_avx2;
#endif
    default: return attend_regional_scalar;
  }
}

// Tokens of the row that has most of them, padded as the scores are.
int64_t most_tokens(const RaccordRegionalAttention& p) {
  int64_t most = 0;
  for (int64_t row = 0; row < p.rows; ++row) {
    int64_t tokens = 0;
    for (int64_t s = 0; s < p.segments; ++s) tokens += round_up(p.spans[row * p.segments + s].tokens, kLanes);
    most = tokens > most ? tokens : most;
  }
  return most;
}

int64_t tile_positions(int64_t tokens) {
  const int64_t fitting = tokens > 0 ? kScoreFloats / tokens / kPairs * kPairs : kMostPositions;
  return fitting < kPairs ? kPairs : fitting > kMostPositions ? kMostPositions : fitting;
}

// For the kernel of any level: what `attend` takes, then queries (twice) and, for bfloat16, sums of some positions.
int64_t scratch_floats(const RaccordRegionalAttention& p, int64_t tokens, int64_t positions) {
  const int64_t rows = round_up(positions, kPairs) + kLanes;
  const int64_t stride = round_up(p.head_width, kPairs);
  const int64_t sums = 2 * kPairs * (tokens + stride);
  return round_up(p.segments * kSpanFloats, kLanes) + rows * (4 * stride + tokens + 6 * p.segments + 1) + sums;
}

struct Work {
  const RaccordRegionalAttention* params;
  AttendRegional attend;
  int64_t positions, tiles, heads, count, scratch;
  std::atomic<int64_t> next;
};

// Neighbouring pieces share heads, so their panels stay in the cache. Without memory the thread leaves its part to others.
void attend_pieces(void* context) {
  Work& work = *static_cast<Work*>(context);
  const RaccordRegionalAttention& p = *work.params;
  const int64_t bytes = work.scratch * static_cast<int64_t>(sizeof(float));
  float* scratch = static_cast<float*>(std::aligned_alloc(64, static_cast<size_t>(round_up(bytes, 64))));
  if (scratch == nullptr) return;
  const int64_t groups = (p.heads + work.heads - 1) / work.heads;
  for (int64_t piece = work.next++; piece < work.count; piece = work.next++) {
    const int64_t group = piece / work.tiles, first_head = group % groups * work.heads;
    const int64_t left = p.heads - first_head, first = piece % work.tiles * work.positions, rest = p.positions - first;
    work.attend({
        &p,
        group / groups,
        first_head,
        left < work.heads ? left : work.heads,
        first,
        rest < work.positions ? rest : work.positions,
        scratch,
    });
  }
  std::free(scratch);
}

void mean_over_heads(const RaccordRegionalAttention& p) {
  for (int64_t row = 0; row < p.rows; ++row) {
    for (int64_t s = 0; s < p.segments; ++s) {
      float* out = p.lse + (row * p.segments + s) * p.positions;
      const bool present = p.spans[row * p.segments + s].tokens > 0;
      for (int64_t i = 0; i < p.positions; ++i) {
        double sum = 0.0;
        for (int64_t h = 0; present && h < p.heads; ++h) {
          sum += static_cast<double>(p.lse_heads[((row * p.heads + h) * p.segments + s) * p.positions + i]);
        }
        out[i] = present ? static_cast<float>(sum / static_cast<double>(p.heads)) : -HUGE_VALF;
      }
    }
  }
}

}  // namespace

void attend_regional_scalar(const RegionalTile& tile) { attend<FloatKernel>(tile); }

}  // namespace raccord

int32_t raccord_regional_attention(const RaccordRegionalAttention* params, int32_t level) {
  using namespace raccord;
  level = resolve_level(level);
  if (level < 0) return RACCORD_BAD_LEVEL;
  const RaccordRegionalAttention& p = *params;
  if (p.paired && level < RACCORD_AVX512BF16) return RACCORD_BAD_LEVEL;
  const int64_t tokens = most_tokens(p);
  const int64_t positions = tile_positions(tokens);
  Work work = {};
  work.params = params;
  work.attend = attend_regional_of(level, p.paired != 0);
  work.positions = positions;
  work.tiles = (p.positions + positions - 1) / positions;
  const int64_t worth = 2 * p.rows * p.positions * p.heads * p.head_width * tokens / kLeastWork + 1;
  const int64_t wanted = p.threads < worth ? p.threads : worth;
  // heads whose panels stay in the second-level cache from one tile to the next, and a few pieces for every thread
  const int64_t panel_bytes = tokens * (2 * p.head_width + kLanes) * (p.paired ? 2 : 4) + 1;
  const int64_t cached = kPanelBytes / panel_bytes, spread = p.rows * p.heads * work.tiles / (kPiecesEach * wanted);
  const int64_t most = cached < spread || wanted == 1 ? cached : spread;
  work.heads = most > p.heads ? p.heads : most < 1 ? 1 : most;
  work.count = p.rows * work.tiles * ((p.heads + work.heads - 1) / work.heads);
  work.scratch = scratch_floats(p, tokens, positions);
  run_on_threads(wanted < work.count ? wanted : work.count, attend_pieces, &work);
  if (p.lse_heads != nullptr) mean_over_heads(p);
  return work.next < work.count ? RACCORD_NO_MEMORY : RACCORD_OK;
}
