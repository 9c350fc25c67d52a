// Entity attention in float32 arithmetic, at the level it is compiled for; bfloat16 is converted on the way in and out.
//
// Scores are K Q^T, so that a register holds one key's scores for as many queries: the softmax needs no sum over lanes,
// and of keys, values and queries only the queries, the fewest, are transposed.
#pragma once

#include "entity_attention_tile.h"

namespace raccord {
namespace {

// Rows taken together, and most vectors: their sums, the vectors and one row's element fill the registers.
#if defined(__AVX512F__)
constexpr int64_t kRows = 8;
#else
constexpr int64_t kRows = 4;
#endif
constexpr int kMostVectors = 3;

class FloatEntityKernel {
 public:
  static constexpr int64_t kTileQueries = 48;
  static_assert(kTileQueries <= kMostQueries && kTileQueries % kLanes == 0, "a tile has room, and is whole vectors");
  static_assert(kBlockKeys % kRows == 0 && kLanes % kRows == 0, "rows are read and finished up to a multiple of kRows");

  explicit FloatEntityKernel(const EntityHead& head)
      : p_(*head.params), width_(p_.head_width), stride_(round_up(width_, kLanes)), free_(head.panels) {
    scores_ = take(kTileQueries * kBlockKeys);
    queries_ = take(kTileQueries * stride_);
    result_ = take(kTileQueries * stride_);
    peak_ = take(kTileQueries);
    total_ = take(kTileQueries);
    kept_ = take(kTileQueries);
  }

  float* mark() const { return free_; }
  void release(float* mark) { free_ = mark; }

  template <class Source>
  EntityBlock pack(const void* keys, const void* values, int64_t count, const Source& source) {
    return {count, copy_rows(keys, count, source), copy_rows(values, count, source)};
  }

  template <class Offset>
  void begin(int64_t count, const Offset& offset) {
    const int64_t lanes = Vector::kWidth;
    // the result's place is free yet
    float* buffer = result_;
    for (int64_t first = 0; first < round_up(count, kLanes); first += lanes) {
      for (int64_t lane = 0; lane < lanes; ++lane) {
        const int64_t i = first + lane;
        if (i + kAhead < count) fetch_row(p_.query, offset(i + kAhead), p_);
        if (i < count) {
          fetch_row(p_.out, offset(i), p_);
          load_row(p_.query, offset(i), buffer + lane * stride_);
        } else {
          std::memset(buffer + lane * stride_, 0, static_cast<size_t>(stride_) * sizeof(float));
        }
      }
      for (int64_t d = 0; d < width_; d += lanes) {
        Vector block[Vector::kWidth];
        for (int64_t lane = 0; lane < lanes; ++lane) block[lane] = load(buffer + lane * stride_ + d);
        transpose(block);
        const int64_t some = width_ - d < lanes ? width_ - d : lanes;
        for (int64_t k = 0; k < some; ++k) store(queries_ + (d + k) * kTileQueries + first, block[k]);
      }
    }
    for (int64_t i = 0; i < kTileQueries; ++i) {
      peak_[i] = kNoPeak;
      total_[i] = 0.0f;
    }
    std::memset(result_, 0, static_cast<size_t>(count * stride_) * sizeof(float));
  }

  void attend_block(const EntityBlock& block, int64_t count, float bias) const {
    score(block, count, bias);
    for (int64_t v = 0; v * Vector::kWidth < count; ++v) exponentiate(v, block.tokens);
    speak(block, count);
  }

  template <class Offset>
  void end(int64_t count, bool sees, const Offset& offset) const {
    for (int64_t i = 0; i < count; ++i) {
      const float* row = result_ + i * stride_;
      const float share = sees ? 1.0f / total_[i] : 0.0f;
      if (p_.bfloat16) {
        uint16_t* out = static_cast<uint16_t*>(p_.out) + offset(i);
        for (int64_t d = 0; d < width_; ++d) out[d] = to_bfloat16(row[d] * share);
      } else {
        float* out = static_cast<float*>(p_.out) + offset(i);
        for (int64_t d = 0; d < width_; ++d) out[d] = row[d] * share;
      }
    }
  }

 private:
  // Scores of Vector::kWidth queries, key after key.
  float* scores_of(int64_t vector) const { return scores_ + vector * Vector::kWidth * kBlockKeys; }

  // Scores of the block's keys, and of some more up to a multiple of kRows.
  void score(const EntityBlock& block, int64_t count, float bias) const {
    const Vector scales = broadcast(p_.scale), biases = broadcast(bias);
    const float* const* keys = static_cast<const float* const*>(block.keys);
    const int64_t vectors = round_up(count, Vector::kWidth) / Vector::kWidth;
    in_strips<kMostVectors>(vectors, [&](auto width, int64_t first) {
      const float* panel = queries_ + first * Vector::kWidth;
      for (int64_t j = 0; j < block.tokens; j += kRows) {
        const float* rows[kRows];
        for (int64_t k = 0; k < kRows; ++k) rows[k] = keys[j + k < block.tokens ? j + k : block.tokens - 1];
        multiply_block<kRows, decltype(width)::value>(
            width_, [&](int64_t k, int64_t d) { return rows[k][d]; },
            [=](int64_t d) { return panel + d * kTileQueries; },
            [=](int64_t k, int64_t n, Vector sum) {
              store(scores_of(first + n) + (j + k) * Vector::kWidth, fused(sum, scales, biases));
            });
      }
    });
  }

  // Replaces the scores of a vector of queries by their exponentials.
  void exponentiate(int64_t vector, int64_t tokens) const {
    constexpr int64_t kChains = 4;
    const int64_t first = vector * Vector::kWidth;
    float* scores = scores_of(vector);
    const Vector before = load(peak_ + first);
    Vector chains[kChains];
    for (Vector& chain : chains) chain = before;
    for (int64_t j = 0; j < tokens; j += kChains)
      for (int64_t c = 0; c < kChains && j + c < tokens; ++c)
        chains[c] = larger(chains[c], load(scores + (j + c) * Vector::kWidth));
    const Vector peak = larger(larger(chains[0], chains[1]), larger(chains[2], chains[3]));
    for (Vector& chain : chains) chain = broadcast(0.0f);
    for (int64_t j = 0; j < tokens; j += kChains)
      for (int64_t c = 0; c < kChains && j + c < tokens; ++c) {
        float* here = scores + (j + c) * Vector::kWidth;
        const Vector e = exponential(subtract(load(here), peak));
        store(here, e);
        chains[c] = add(chains[c], e);
      }
    const Vector sum = add(add(chains[0], chains[1]), add(chains[2], chains[3]));
    const Vector kept = exponential(subtract(before, peak));
    store(peak_ + first, peak);
    store(kept_ + first, kept);
    store(total_ + first, fused(load(total_ + first), kept, sum));
  }

  // Adds the values, weighted by the exponentials, to the results.
  void speak(const EntityBlock& block, int64_t count) const {
    constexpr int64_t lanes = Vector::kWidth;
    const float* const* values = static_cast<const float* const*>(block.values);
    float* const results = result_;
    const float* const kept = kept_;
    const int64_t stride = stride_;
    in_strips<kMostVectors>(round_up(width_, lanes) / lanes, [&](auto width, int64_t first) {
      for (int64_t i = 0; i < count; i += kRows) {
        const float* weights = scores_of(i / lanes) + i % lanes;
        float* const to = results + i * stride + first * lanes;
        multiply_block<kRows, decltype(width)::value>(
            block.tokens,
            [=](int64_t k, int64_t j) { return weights[k / lanes * lanes * kBlockKeys + k % lanes + j * lanes]; },
            [=](int64_t j) { return values[j] + first * lanes; },
            [=](int64_t k, int64_t n, Vector sum) {
              float* here = to + k * stride + n * lanes;
              store(here, fused(load(here), broadcast(kept[i + k]), sum));
            });
      }
    });
  }

  float* take(int64_t floats) {
    float* taken = free_;
    free_ += round_up(floats, kLanes);
    return taken;
  }

  // The rows of `count` tokens, copied together, by where they begin.
  template <class Source>
  const float* const* copy_rows(const void* tensor, int64_t count, const Source& source) {
    const float** rows = reinterpret_cast<const float**>(take(2 * count));
    for (int64_t j = 0; j < count; ++j) {
      if (j + kAhead < count) fetch_row(tensor, source(j + kAhead), p_);
      float* row = take(stride_);
      load_row(tensor, source(j), row);
      rows[j] = row;
    }
    return rows;
  }

  // One row, and zeros up to the stride.
  void load_row(const void* tensor, int64_t from, float* out) const {
    if (p_.bfloat16) {
      const uint16_t* row = static_cast<const uint16_t*>(tensor) + from;
      for (int64_t d = 0; d < width_; ++d) out[d] = from_bfloat16(row[d]);
    } else {
      const float* row = static_cast<const float*>(tensor) + from;
      for (int64_t d = 0; d < width_; ++d) out[d] = row[d];
    }
    for (int64_t d = width_; d < stride_; ++d) out[d] = 0.0f;
  }

  const RaccordEntityAttention& p_;
  const int64_t width_, stride_;  // head width, and rounded up
  float* free_;
  float* scores_;   // [kTileQueries / Vector::kWidth, kBlockKeys, Vector::kWidth]
  float* queries_;  // [D, kTileQueries]
  float* result_;   // [kTileQueries, stride]
  float* peak_;     // [kTileQueries]
  float* total_;    // [kTileQueries]
  float* kept_;     // [kTileQueries], what earlier blocks count after a new peak
};

}  // namespace
}  // namespace raccord
