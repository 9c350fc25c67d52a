// One tile of regional attention, in the arithmetic that `Kernel` names, compiled once a level.
//
// Only the positions that see a segment meet its keys (all do where the lse is asked for): per segment they are listed,
// once for all heads; per head they are multiplied with the packed keys, exponentiated, and multiplied with the packed
// values; a factor per position and segment joins the segments. Every element of the result is a chain of operations of
// its position alone, in ascending order of segments and tokens, so neither neighbours, tile sizes nor skipping can
// change a bit.
#pragma once

#include "product.h"
#include "regional_attention.h"

namespace raccord {
namespace {

// One segment of the tile's row.
struct Span {
  const RaccordSpan* from;
  const float* weight;  // [count]
  const float* bias;    // [count], log of the weight, or null
  void* scores;         // [listed, tokens rounded up], exponentials of the scores
  float* peak;          // [count], what was taken off the scores, such as the largest of them
  float* total;         // [count], sum of the exponentials
  float* factor;        // [count], of the exponentials in the result
  double* share;        // [count], what the segment counts among those seen; 1 where it is the only one
  int32_t* seen;        // [seers], the positions that see the segment
  int64_t seers;
};

static_assert(sizeof(Span) % sizeof(float) == 0, "a span fills whole floats of the scratch memory");
static_assert(sizeof(Span) / sizeof(float) <= kSpanFloats, "scratch memory has room for a span");

// Hands out the scratch memory, in multiples of 64 bytes.
struct Scratch {
  float* free;

  float* floats(int64_t count) {
    float* taken = free;
    free += round_up(count, kLanes);
    return taken;
  }
  template <class T>
  T* take(int64_t count) {
    void* taken = floats(round_up(count * static_cast<int64_t>(sizeof(T)), 4) / 4);
    return static_cast<T*>(taken);
  }
};

inline void write_lse(const RegionalTile& tile, int64_t head, const Span& span) {
  const RaccordRegionalAttention& p = *tile.params;
  const int64_t segment = span.from - (p.spans + tile.row * p.segments);
  float* out = p.lse_heads + ((tile.row * p.heads + head) * p.segments + segment) * p.positions + tile.first;
  for (int64_t i = 0; i < tile.count; ++i) {
    out[i] = static_cast<float>(static_cast<double>(span.peak[i]) + log(static_cast<double>(span.total[i])));
  }
}

// Lists who sees which segment, and what each counts; both are the same for all heads. Positions that see several go to
// `several`.
inline int64_t list_seers(const RegionalTile& tile, Span* spans, int64_t present, int32_t* several) {
  double norm[kListed];
  int32_t voices[kListed];
  int64_t found = 0;
  for (int64_t first = 0; first < tile.count; first += kListed) {
    const int64_t count = tile.count - first < kListed ? tile.count - first : kListed;
    for (int64_t i = 0; i < kListed; ++i) {
      norm[i] = 0.0;
      voices[i] = 0;
    }
    for (int64_t s = 0; s < present; ++s) {
      const float* weight = spans[s].weight + first;
      for (int64_t i = 0; i < count; ++i) {
        const bool sees = weight[i] > 0.0f;
        norm[i] += sees ? static_cast<double>(weight[i]) : 0.0;
        voices[i] += sees;
      }
    }
    for (int64_t s = 0; s < present; ++s) {
      Span& span = spans[s];
      float most = 0.0f;
      for (int64_t i = 0; i < count; ++i) most = span.weight[first + i] > most ? span.weight[first + i] : most;
      if (!(most > 0.0f)) continue;
      for (int64_t i = 0; i < count; ++i) {
        span.seen[span.seers] = static_cast<int32_t>(first + i);
        span.seers += span.weight[first + i] > 0.0f;
        span.share[first + i] = voices[i] == 1 ? 1.0 : static_cast<double>(span.weight[first + i]) / norm[i];
      }
    }
    for (int64_t i = 0; i < count; ++i) {
      several[found] = static_cast<int32_t>(first + i);
      found += voices[i] > 1;
    }
  }
  return found;
}

// The factor of each segment's exponentials in the result of position i: what the segment counts among those seen,
// divided by the sum of its exponentials. A position that sees one segment counts it 1, exactly.
inline void weigh(const RegionalTile& tile, Span* spans, int64_t present) {
  for (int64_t s = 0; s < present; ++s) {
    const Span& span = spans[s];
    for (int64_t i = 0; i < tile.count; ++i) {
      span.factor[i] = static_cast<float>(span.share[i] / static_cast<double>(span.total[i]));
    }
  }
}

// The same where position i sees several and all share one softmax.
inline void weigh_jointly(Span* spans, int64_t present, int64_t i) {
  double highest = -HUGE_VAL, norm = 0.0;
  for (int64_t s = 0; s < present; ++s) {
    if (!(spans[s].weight[i] > 0.0f)) continue;
    const double biased = static_cast<double>(spans[s].peak[i]) + static_cast<double>(spans[s].bias[i]);
    highest = biased > highest ? biased : highest;
  }
  for (int64_t s = 0; s < present; ++s) {
    if (!(spans[s].weight[i] > 0.0f)) continue;
    const double biased = static_cast<double>(spans[s].peak[i]) + static_cast<double>(spans[s].bias[i]);
    spans[s].factor[i] = static_cast<float>(exp(biased - highest));
    norm += static_cast<double>(spans[s].factor[i]) * static_cast<double>(spans[s].total[i]);
  }
  for (int64_t s = 0; s < present; ++s) {
    if (!(spans[s].weight[i] > 0.0f)) continue;
    spans[s].factor[i] = static_cast<float>(static_cast<double>(spans[s].factor[i]) / norm);
  }
}

// Queries of all heads lie row after row, as do results, and the processor does not foresee one head's walk along the
// positions: so queries are fetched some rows ahead, and the places of the results long before they are written.
constexpr int64_t kAhead = 12;

inline void fetch(const void* tensor, int64_t from, const RaccordRegionalAttention& p) {
  const int64_t size = p.bfloat16 ? 2 : 4;
  const char* row = static_cast<const char*>(tensor) + from * size;
  for (int64_t b = 0; b < p.head_width * size; b += 64) __builtin_prefetch(row + b);
}

// Where the result of the tile's position i goes.
inline int64_t place(const RegionalTile& tile, int64_t head, int64_t i) {
  const RaccordRegionalAttention& p = *tile.params;
  return ((tile.row * p.positions + tile.first + i) * p.heads + head) * p.head_width;
}

template <class Kernel>
inline void attend(const RegionalTile& tile) {
  const RaccordRegionalAttention& p = *tile.params;
  const int64_t stride = round_up(p.head_width, kLanes);
  const int64_t rows = round_up(tile.count, kPairs);
  Scratch scratch = {tile.scratch};
  Span* spans = scratch.take<Span>(p.segments);
  int32_t* several = scratch.take<int32_t>(rows + 1);
  float* result = scratch.floats(tile.count * stride);

  int64_t present = 0;
  for (int64_t segment = 0; segment < p.segments; ++segment) {
    const RaccordSpan& from = p.spans[tile.row * p.segments + segment];
    if (from.tokens == 0) continue;
    const int64_t weights = (tile.row * p.segments + segment) * p.positions + tile.first;
    Span& span = spans[present++];
    span.from = &from;
    span.weight = p.weight + weights;
    span.bias = p.joint ? p.bias + weights : nullptr;
    span.peak = scratch.floats(rows);
    span.total = scratch.floats(rows);
    span.factor = scratch.floats(rows);
    span.share = scratch.take<double>(rows);
    span.seen = scratch.take<int32_t>(rows + 1);
    span.seers = 0;
    span.scores = scratch.floats(rows * round_up(from.tokens, kLanes));
    for (int64_t i = 0; i < tile.count; ++i) span.total[i] = 1.0f;
  }
  const int64_t shared = list_seers(tile, spans, present, several);
  Kernel kernel(tile, scratch);
  for (int64_t head = tile.first_head; head < tile.first_head + tile.heads; ++head) {
    kernel.load_queries(head);
    std::memset(result, 0, static_cast<size_t>(tile.count * stride) * sizeof(float));
    for (int64_t s = 0; s < present; ++s) {
      kernel.score(head, spans[s]);
      if (p.lse_heads != nullptr) write_lse(tile, head, spans[s]);
    }
    weigh(tile, spans, present);
    for (int64_t i = 0; p.joint && i < shared; ++i) weigh_jointly(spans, present, several[i]);
    for (int64_t s = 0; s < present; ++s) kernel.speak(head, spans[s], result);
    kernel.store(head, result);
  }
}

}  // namespace
}  // namespace raccord
