// Entity attention in float32 arithmetic, at the level it is compiled for; bfloat16 is converted on the way in and out.
#pragma once

#include "entity_attention_tile.h"

namespace raccord {
namespace {

class FloatEntityKernel {
 public:
  explicit FloatEntityKernel(const EntityHead& head)
      : p_(*head.params), width_(p_.head_width), stride_(round_up(width_, kLanes)), free_(head.panels) {
    scores_ = take(kTileQueries * kBlockKeys);
    result_ = take(kTileQueries * stride_);
    queries_ = take(kTileQueries * stride_);
    peak_ = take(kTileQueries);
    total_ = take(kTileQueries);
    kept_ = take(kTileQueries);
  }

  template <class Source>
  EntityBlock pack(const void* keys, const void* values, int64_t count, const Source& source) {
    // before any query is loaded, their place is free
    static_assert(kTileQueries >= kLanes, "the queries' place holds the rows that are packed at a time");
    float* buffer = queries_;
    const int64_t padded = round_up(count, kLanes), lanes = Vector::kWidth;
    float* key_panel = take(width_ * padded);
    float* value_panel = take(count * stride_);
    for (int64_t j = 0; j < padded; j += lanes) {
      for (int64_t lane = 0; lane < lanes; ++lane) {
        if (j + lane + kAhead < count) {
          fetch_row(keys, source(j + lane + kAhead), p_);
          fetch_row(values, source(j + lane + kAhead), p_);
        }
        if (j + lane < count) {
          const int64_t from = source(j + lane);
          load_row(keys, from, buffer + lane * stride_);
          load_row(values, from, value_panel + (j + lane) * stride_);
        } else {
          std::memset(buffer + lane * stride_, 0, static_cast<size_t>(stride_) * sizeof(float));
        }
      }
      for (int64_t d = 0; d < width_; d += lanes) {
        Vector block[Vector::kWidth];
        for (int64_t lane = 0; lane < lanes; ++lane) block[lane] = load(buffer + lane * stride_ + d);
        transpose(block);
        const int64_t some = width_ - d < lanes ? width_ - d : lanes;
        for (int64_t k = 0; k < some; ++k) store(key_panel + (d + k) * padded + j, block[k]);
      }
    }
    return {count, key_panel, value_panel};
  }

  template <class Offset>
  void begin(int64_t count, const Offset& offset) {
    for (int64_t i = 0; i < count; ++i) {
      if (i + kAhead < count) fetch_row(p_.query, offset(i + kAhead), p_);
      fetch_row(p_.out, offset(i), p_);
      load_row(p_.query, offset(i), queries_ + i * stride_);
    }
    for (int64_t i = 0; i < kTileQueries; ++i) {
      peak_[i] = kNoPeak;
      total_[i] = 0.0f;
    }
    std::memset(result_, 0, static_cast<size_t>(count * stride_) * sizeof(float));
  }

  void attend_block(const EntityBlock& block, int64_t count, float bias) const {
    const int64_t padded = round_up(block.tokens, kLanes), width = Vector::kWidth, stride = stride_;
    const Vector scales = broadcast(p_.scale), biases = broadcast(bias);
    float* const scores = scores_;
    float* const result = result_;
    const float* const kept = kept_;
    multiply_rows(
        count, queries_, stride_, width_, static_cast<const float*>(block.keys), padded, padded / width,
        [=](int64_t i, int64_t n, Vector sum) {
          store(scores + i * padded + n * width, fused(sum, scales, biases));
        });
    float before[kTileQueries];
    for (int64_t i = 0; i < count; ++i) {
      float* row = scores_ + i * padded;
      for (int64_t j = block.tokens; j < padded; ++j) row[j] = -HUGE_VALF;
      const float highest = largest(row, padded);
      before[i] = peak_[i];
      peak_[i] = highest > before[i] ? highest : before[i];
    }
    for (int64_t i = count; i < round_up(count, kLanes); ++i) before[i] = peak_[i];
    for (int64_t i = 0; i < count; i += width) {
      store(kept_ + i, exponential(subtract(load(before + i), load(peak_ + i))));
    }
    for (int64_t i = 0; i < count; ++i) {
      const float sum = exponentiate(scores_ + i * padded, padded, peak_[i]);
      total_[i] = fmaf(total_[i], kept_[i], sum);
    }
    multiply_rows(
        count, scores_, padded, block.tokens, static_cast<const float*>(block.values), stride_,
        round_up(width_, width) / width, [=](int64_t i, int64_t n, Vector sum) {
          float* to = result + i * stride + n * width;
          store(to, fused(load(to), broadcast(kept[i]), sum));
        });
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
  float* take(int64_t floats) {
    float* taken = free_;
    free_ += floats;
    return taken;
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
  float* scores_;   // [kTileQueries, kBlockKeys]
  float* result_;   // [kTileQueries, stride]
  float* queries_;  // [kTileQueries, stride]
  float* peak_;     // [kTileQueries]
  float* total_;    // [kTileQueries]
  float* kept_;     // [kTileQueries], what earlier blocks count after a new peak
};

}  // namespace
}  // namespace raccord
