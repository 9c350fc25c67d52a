#include <atomic>
#include <cmath>
#include <cstdlib>

#include "cpu_level.h"
#include "parallel.h"
#include "regional_attention_tile.h"

namespace raccord {
namespace {

// A tile's scores stay in the second-level cache; nothing depends on the number of positions in a tile.
constexpr int64_t kMostPositions = 256;
constexpr int64_t kScoreFloats = 96 * 1024;
// Work that a thread must have to be worth its start, in multiply-adds.
constexpr int64_t kLeastWork = 4 << 20;

AttendRegional attend_regional_of(int32_t level) {
  switch (level) {
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
  const int64_t fitting = tokens > 0 ? kScoreFloats / tokens / kRows * kRows : kMostPositions;
  return fitting < 2 * kRows ? 2 * kRows : fitting > kMostPositions ? kMostPositions : fitting;
}

int64_t scratch_floats(const RaccordRegionalAttention& p, int64_t tokens, int64_t positions) {
  const int64_t rows = round_up(positions, kLanes);
  const int64_t stride = round_up(p.head_width, kLanes);
  return round_up(p.segments * kSpanFloats, kLanes) + rows * (2 * stride + tokens + 4 * p.segments);
}

struct Work {
  const RaccordRegionalAttention* params;
  AttendRegional attend;
  int64_t positions, tiles, count, scratch;
  std::atomic<int64_t> next;
};

// Neighbouring pieces share a head, so its panels stay in the cache. Without memory the thread leaves its part to others.
void attend_pieces(void* context) {
  Work& work = *static_cast<Work*>(context);
  const RaccordRegionalAttention& p = *work.params;
  const int64_t bytes = work.scratch * static_cast<int64_t>(sizeof(float));
  float* scratch = static_cast<float*>(std::aligned_alloc(64, static_cast<size_t>(round_up(bytes, 64))));
  if (scratch == nullptr) return;
  for (int64_t piece = work.next++; piece < work.count; piece = work.next++) {
    const int64_t first = piece % work.tiles * work.positions;
    const int64_t left = p.positions - first;
    const int64_t head = piece / work.tiles;
    work.attend({&p, head / p.heads, head % p.heads, first, left < work.positions ? left : work.positions, scratch});
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

void attend_regional_scalar(const RegionalTile& tile) { attend(tile); }

}  // namespace raccord

int32_t raccord_regional_attention(const RaccordRegionalAttention* params, int32_t level) {
  using namespace raccord;
  level = resolve_level(level);
  if (level < 0) return RACCORD_BAD_LEVEL;
  const RaccordRegionalAttention& p = *params;
  const int64_t tokens = most_tokens(p);
  const int64_t positions = tile_positions(tokens);
  Work work = {};
  work.params = params;
  work.attend = attend_regional_of(level);
  work.positions = positions;
  work.tiles = (p.positions + positions - 1) / positions;
  work.count = p.rows * p.heads * work.tiles;
  work.scratch = scratch_floats(p, tokens, positions);
  const int64_t worth = 2 * p.rows * p.positions * p.heads * p.head_width * tokens / kLeastWork + 1;
  const int64_t wanted = p.threads < worth ? p.threads : worth;
  run_on_threads(wanted < work.count ? wanted : work.count, attend_pieces, &work);
  if (p.lse_heads != nullptr) mean_over_heads(p);
  return work.next < work.count ? RACCORD_NO_MEMORY : RACCORD_OK;
}
