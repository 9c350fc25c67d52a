// Regional attention in float32 arithmetic, at the level it is compiled for; bfloat16 is converted on the way in and out.
#pragma once

#include "regional_attention_tile.h"

namespace raccord {
namespace {

// Rows taken together, and most vectors: their sums, the vectors and one row's element fill the registers.
constexpr int64_t kRows = 4;
#if defined(__AVX512F__)
constexpr int kMostVectors = 5;
#elif defined(__AVX2__)
constexpr int kMostVectors = 3;
#else
constexpr int kMostVectors = 4;
#endif

// row(i) is where the i-th of `count` rows starts; finish(i, n, sum) takes its n-th vector, i up to the next multiple of
// kRows. Reading rows from a list is a tenth faster than copying them together first.
template <class Row, class Finish>
inline void multiply_listed(
    int64_t count, int64_t depth, const float* panel, int64_t stride, int64_t vectors, const Row& row,
    const Finish& finish) {
  in_strips<kMostVectors>(vectors, [&](auto width, int64_t first) {
    const float* here = panel + first * Vector::kWidth;
    for (int64_t i = 0; i < count; i += kRows) {
      const float* rows[kRows];
      for (int64_t k = 0; k < kRows; ++k) rows[k] = row(i + k < count ? i + k : count - 1);
      multiply_block<kRows, decltype(width)::value>(
          depth, [&](int64_t k, int64_t d) { return rows[k][d]; }, [=](int64_t d) { return here + d * stride; },
          [&](int64_t k, int64_t n, Vector sum) { finish(i + k, first + n, sum); });
    }
  });
}

struct FloatKernel {
  const RegionalTile& tile;
  const RaccordRegionalAttention& p;
  const int64_t stride;  // head width rounded up
  const bool all;        // positions that do not see a segment meet its keys, too
  float* queries;        // [count, D]

  FloatKernel(const RegionalTile& given, Scratch& scratch)
      : tile(given), p(*given.params), stride(round_up(p.head_width, kLanes)), all(p.lse_heads != nullptr) {
    queries = scratch.floats(tile.count * p.head_width);
  }

  void load_queries(int64_t head) const {
    int64_t from = tile.row * p.stride_row + head * p.stride_head + tile.first * p.stride_position;
    float* out = queries;
    for (int64_t i = 0; i < tile.count; ++i, out += p.head_width, from += p.stride_position) {
      fetch(p.query, from + kAhead * p.stride_position, p);
      fetch(p.out, place(tile, head, i), p);
      if (p.bfloat16) {
        const uint16_t* query = static_cast<const uint16_t*>(p.query) + from;
        for (int64_t d = 0; d < p.head_width; ++d) out[d] = from_bfloat16(query[d]);
      } else {
        copy(static_cast<const float*>(p.query) + from, out);
      }
    }
  }

  // Scores of the listed positions, exponentiated; the largest and the sum of each go to peak and total.
  void score(int64_t head, const Span& span) const {
    const int64_t tokens = span.from->tokens, padded = round_up(tokens, kLanes);
    const int64_t listed = all ? tile.count : span.seers;
    const float* keys = static_cast<const float*>(p.panels) + span.from->keys + head * p.head_width * padded;
    float* scores = static_cast<float*>(span.scores);
    const Vector scale = broadcast(p.scale);
    multiply_listed(
        listed, p.head_width, keys, padded, padded / Vector::kWidth,
        [&](int64_t i) { return queries + (all ? i : span.seen[i]) * p.head_width; },
        [&](int64_t i, int64_t n, Vector sum) {
          raccord::store(scores + i * padded + n * Vector::kWidth, multiply(sum, scale));
        });
    for (int64_t i = 0; i < listed; ++i) {
      float* row = scores + i * padded;
      for (int64_t j = tokens; j < padded; ++j) row[j] = -HUGE_VALF;
      const int64_t position = all ? i : span.seen[i];
      span.peak[position] = largest(row, padded);
      span.total[position] = exponentiate(row, padded, span.peak[position]);
    }
  }

  // Adds the segment's values, weighted by its exponentials, to the results of the positions that see it.
  void speak(int64_t head, const Span& span, float* result) const {
    const int64_t tokens = span.from->tokens, padded = round_up(tokens, kLanes), width = Vector::kWidth;
    const float* values = static_cast<const float*>(p.panels) + span.from->values + head * tokens * stride;
    const float* scores = static_cast<const float*>(span.scores);
    multiply_listed(
        span.seers, tokens, values, stride, round_up(p.head_width, width) / width,
        [&](int64_t i) { return scores + (all ? span.seen[i] : i) * padded; },
        [&](int64_t i, int64_t n, Vector sum) {
          if (i >= span.seers) return;
          float* to = result + span.seen[i] * stride + n * width;
          raccord::store(to, fused(broadcast(span.factor[span.seen[i]]), sum, load(to)));
        });
  }

  void store(int64_t head, const float* result) const {
    for (int64_t i = 0; i < tile.count; ++i, result += stride) {
      const int64_t to = place(tile, head, i);
      if (p.bfloat16) {
        uint16_t* out = static_cast<uint16_t*>(p.out) + to;
        for (int64_t d = 0; d < p.head_width; ++d) out[d] = to_bfloat16(result[d]);
      } else {
        copy(result, static_cast<float*>(p.out) + to);
      }
    }
  }

  void copy(const float* from, float* to) const {
    const int64_t size = p.head_width, whole = size / Vector::kWidth * Vector::kWidth;
    for (int64_t d = 0; d < whole; d += Vector::kWidth) raccord::store(to + d, load(from + d));
    for (int64_t d = whole; d < size; ++d) to[d] = from[d];
  }
};

}  // namespace
}  // namespace raccord
