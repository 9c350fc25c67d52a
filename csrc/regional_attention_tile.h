// One tile of regional attention, compiled once a level.
//
// Only the positions that see a segment meet its keys (all do where the lse is asked for): per segment they are listed,
// multiplied with the packed keys, exponentiated, and multiplied with the packed values; a factor per position and
// segment joins the segments. Every element of the result is a chain of operations of its position alone, in ascending order of
// segments and tokens, so neither neighbours, tile sizes nor skipping can change a bit.
#pragma once

#include "product.h"
#include "regional_attention.h"

namespace raccord {
namespace {

// One segment of the tile's row.
struct Span {
  int64_t tokens;
  const float* keys;    // [D, tokens rounded up to kLanes] of this head
  const float* values;  // [tokens, D rounded up to kLanes] of this head
  const float* weight;  // [count]
  const float* bias;    // [count], log of the weight, or null
  float* scores;        // [listed, tokens rounded up], later their exponentials
  float* peak;          // [count], the largest score
  float* total;         // [count], sum of the exponentials
  float* factor;        // [count], of the exponentials in the result
  int32_t* seen;        // [seers], the positions that see the segment
  int64_t seers;
};

static_assert(sizeof(Span) % sizeof(float) == 0, "a span fills whole floats of the scratch memory");
static_assert(sizeof(Span) / sizeof(float) <= kSpanFloats, "scratch memory has room for a span");

inline void load_queries(const RegionalTile& tile, float* out) {
  const RaccordRegionalAttention& p = *tile.params;
  const int64_t start = tile.row * p.stride_row + tile.head * p.stride_head + tile.first * p.stride_position;
  for (int64_t i = 0; i < tile.count; ++i, out += p.head_width) {
    const int64_t from = start + i * p.stride_position;
    if (p.bfloat16) {
      const uint16_t* query = static_cast<const uint16_t*>(p.query) + from;
      for (int64_t d = 0; d < p.head_width; ++d) out[d] = from_bfloat16(query[d]);
    } else {
      std::memcpy(out, static_cast<const float*>(p.query) + from, static_cast<size_t>(p.head_width) * sizeof(float));
    }
  }
}

inline void store_output(const RegionalTile& tile, const float* result, int64_t stride) {
  const RaccordRegionalAttention& p = *tile.params;
  const int64_t step = p.heads * p.head_width;
  int64_t to = (tile.row * p.positions + tile.first) * step + tile.head * p.head_width;
  for (int64_t i = 0; i < tile.count; ++i, to += step, result += stride) {
    if (p.bfloat16) {
      uint16_t* out = static_cast<uint16_t*>(p.out) + to;
      for (int64_t d = 0; d < p.head_width; ++d) out[d] = to_bfloat16(result[d]);
    } else {
      std::memcpy(static_cast<float*>(p.out) + to, result, static_cast<size_t>(p.head_width) * sizeof(float));
    }
  }
}

// Rows that lie anywhere, with NV vectors of a panel, as multiply_block of product.h has it. Small enough to be inlined
// here, where the rows' addresses come from a list: a tenth faster than copying the rows together first.
template <int NV, class Row, class Finish>
inline void multiply_listed_strip(
    int64_t count, int64_t depth, const float* panel, int64_t stride, const Row& row, const Finish& finish) {
  for (int64_t i = 0; i < count; i += kRows) {
    const float* rows[kRows];
    for (int k = 0; k < kRows; ++k) rows[k] = row(i + k < count ? i + k : count - 1);
    Vector sums[kRows][NV];
    for (int k = 0; k < kRows; ++k)
      for (int n = 0; n < NV; ++n) sums[k][n] = broadcast(0.0f);
    const float* here = panel;
    for (int64_t d = 0; d < depth; ++d, here += stride) {
      Vector b[NV];
      for (int n = 0; n < NV; ++n) b[n] = load(here + n * Vector::kWidth);
      for (int k = 0; k < kRows; ++k) {
        const Vector a = broadcast(rows[k][d]);
        for (int n = 0; n < NV; ++n) sums[k][n] = fused(a, b[n], sums[k][n]);
      }
    }
    for (int k = 0; k < kRows; ++k)
      for (int n = 0; n < NV; ++n) finish(i + k, n, sums[k][n]);
  }
}

// row(i) is where the i-th of `count` rows starts; finish(i, n, sum) takes its n-th vector, i up to the next multiple of
// kRows.
template <class Row, class Finish>
inline void multiply_listed(
    int64_t count, int64_t depth, const float* panel, int64_t stride, int64_t vectors, const Row& row,
    const Finish& finish) {
  const int64_t strips = (vectors + kMostVectors - 1) / kMostVectors;
  for (int64_t strip = 0, vector = 0; strip < strips; ++strip) {
    const int64_t width = (vectors - vector + strips - strip - 1) / (strips - strip);
    const float* here = panel + vector * Vector::kWidth;
    const auto take = [&](int64_t i, int n, Vector sum) { finish(i, vector + n, sum); };
    switch (width) {
      case 1: multiply_listed_strip<1>(count, depth, here, stride, row, take); break;
      case 2: multiply_listed_strip<2>(count, depth, here, stride, row, take); break;
      case 3: multiply_listed_strip<3>(count, depth, here, stride, row, take); break;
#if !defined(__AVX2__) || defined(__AVX512F__)
      case 4: multiply_listed_strip<4>(count, depth, here, stride, row, take); break;
#endif
#if defined(__AVX512F__)
      case 5: multiply_listed_strip<5>(count, depth, here, stride, row, take); break;
#endif
      default: break;
    }
    vector += width;
  }
}

// Scores of the listed positions, exponentiated; the largest and the sum of each go to peak and total.
inline void score(const RegionalTile& tile, const float* queries, bool all, const Span& span) {
  const RaccordRegionalAttention& p = *tile.params;
  const int64_t padded = round_up(span.tokens, kLanes);
  const int64_t listed = all ? tile.count : span.seers;
  const Vector scale = broadcast(p.scale);
  multiply_listed(
      listed, p.head_width, span.keys, padded, padded / Vector::kWidth,
      [&](int64_t i) { return queries + (all ? i : span.seen[i]) * p.head_width; },
      [&](int64_t i, int64_t n, Vector sum) {
        store(span.scores + i * padded + n * Vector::kWidth, multiply(sum, scale));
      });
  for (int64_t i = 0; i < listed; ++i) {
    float* row = span.scores + i * padded;
    for (int64_t j = span.tokens; j < padded; ++j) row[j] = -HUGE_VALF;
    const int64_t position = all ? i : span.seen[i];
    span.peak[position] = largest(row, padded);
    span.total[position] = exponentiate(row, padded, span.peak[position]);
  }
}

inline void write_lse(const RegionalTile& tile, int64_t segment, const Span& span) {
  const RaccordRegionalAttention& p = *tile.params;
  float* out = p.lse_heads + ((tile.row * p.heads + tile.head) * p.segments + segment) * p.positions + tile.first;
  for (int64_t i = 0; i < tile.count; ++i) {
    out[i] = static_cast<float>(static_cast<double>(span.peak[i]) + log(static_cast<double>(span.total[i])));
  }
}

// The factor of each segment's exponentials in the result of position i: what the segment counts among those seen,
// divided by the sum of its exponentials. A position that sees one segment counts it 1, exactly.
inline void weigh(const Span* spans, int64_t present, bool joint, int64_t i) {
  double norm = 0.0, highest = -HUGE_VAL;
  int64_t voices = 0;
  for (int64_t s = 0; s < present; ++s) {
    if (!(spans[s].weight[i] > 0.0f)) continue;
    ++voices;
    norm += static_cast<double>(spans[s].weight[i]);
    if (!joint) continue;
    const double biased = static_cast<double>(spans[s].peak[i]) + static_cast<double>(spans[s].bias[i]);
    highest = biased > highest ? biased : highest;
  }
  if (joint && voices > 1) {
    norm = 0.0;
    for (int64_t s = 0; s < present; ++s) {
      if (!(spans[s].weight[i] > 0.0f)) continue;
      const double biased = static_cast<double>(spans[s].peak[i]) + static_cast<double>(spans[s].bias[i]);
      spans[s].factor[i] = static_cast<float>(exp(biased - highest));
      norm += static_cast<double>(spans[s].factor[i]) * static_cast<double>(spans[s].total[i]);
    }
  }
  for (int64_t s = 0; s < present; ++s) {
    if (!(spans[s].weight[i] > 0.0f)) continue;
    const double total = static_cast<double>(spans[s].total[i]);
    const double share = voices == 1 ? 1.0 / total
        : joint                      ? static_cast<double>(spans[s].factor[i]) / norm
                                     : static_cast<double>(spans[s].weight[i]) / norm / total;
    spans[s].factor[i] = static_cast<float>(share);
  }
}

// Adds the segment's values, weighted by its exponentials, to the results of the positions that see it.
inline void speak(const RegionalTile& tile, bool all, const Span& span, float* result, int64_t stride) {
  const int64_t width = Vector::kWidth;
  const int64_t padded = round_up(span.tokens, kLanes);
  multiply_listed(
      span.seers, span.tokens, span.values, stride, round_up(tile.params->head_width, width) / width,
      [&](int64_t i) { return span.scores + (all ? span.seen[i] : i) * padded; },
      [&](int64_t i, int64_t n, Vector sum) {
        if (i >= span.seers) return;
        float* to = result + span.seen[i] * stride + n * width;
        store(to, fused(broadcast(span.factor[span.seen[i]]), sum, load(to)));
      });
}

inline void attend(const RegionalTile& tile) {
  const RaccordRegionalAttention& p = *tile.params;
  const bool all = p.lse_heads != nullptr;
  const int64_t stride = round_up(p.head_width, kLanes);
  const int64_t rows = round_up(tile.count, kRows);
  float* free = tile.scratch;
  const auto take = [&free](int64_t floats) {
    float* taken = free;
    free += floats;
    return taken;
  };
  Span* spans = static_cast<Span*>(static_cast<void*>(take(round_up(p.segments * kSpanFloats, kLanes))));
  float* queries = take(rows * p.head_width);
  float* result = take(tile.count * stride);
  load_queries(tile, queries);
  std::memset(result, 0, static_cast<size_t>(tile.count * stride) * sizeof(float));

  int64_t present = 0;
  for (int64_t segment = 0; segment < p.segments; ++segment) {
    const RaccordSpan& from = p.spans[tile.row * p.segments + segment];
    if (from.tokens == 0) continue;
    const int64_t padded = round_up(from.tokens, kLanes);
    const int64_t weights = (tile.row * p.segments + segment) * p.positions + tile.first;
    Span& span = spans[present++];
    span.tokens = from.tokens;
    span.keys = p.panels + from.keys + tile.head * p.head_width * padded;
    span.values = p.panels + from.values + tile.head * from.tokens * stride;
    span.weight = p.weight + weights;
    span.bias = p.joint ? p.bias + weights : nullptr;
    span.peak = take(rows);
    span.total = take(rows);
    span.factor = take(rows);
    span.seen = static_cast<int32_t*>(static_cast<void*>(take(rows)));
    span.seers = 0;
    for (int64_t i = 0; i < tile.count; ++i) {
      span.seen[span.seers] = static_cast<int32_t>(i);
      span.seers += span.weight[i] > 0.0f;
    }
    span.scores = take(rows * padded);
    score(tile, queries, all, span);
    if (all) write_lse(tile, segment, span);
  }
  for (int64_t i = 0; i < tile.count; ++i) weigh(spans, present, p.joint != 0, i);
  for (int64_t s = 0; s < present; ++s) speak(tile, all, spans[s], result, stride);
  store_output(tile, result, stride);
}

}  // namespace
}  // namespace raccord
