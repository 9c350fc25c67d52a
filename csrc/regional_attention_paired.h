// Regional attention of bfloat16 where `Products` (bfloat16.h) multiplies such numbers: everything else is in float32,
// except that the exponentials are rounded to bfloat16 before they meet the values.
#pragma once

#include "bfloat16.h"
#include "regional_attention_tile.h"

namespace raccord {
namespace {

static_assert(kPairs == kTileDepth && kLanes == kTile && kListed == kTile, "a tile's sizes are those of the scratch");

template <class Products>
class PairedKernel {
 public:
  PairedKernel(const RegionalTile& given, Scratch& scratch)
      : tile_(given),
        p_(*given.params),
        depth_(round_up(p_.head_width, kTileDepth)),
        stride_(round_up(p_.head_width, kTile)),
        all_(p_.lse_heads != nullptr) {
    int64_t most = 0;
    for (int64_t s = 0; s < p_.segments; ++s) {
      const int64_t tokens = p_.spans[tile_.row * p_.segments + s].tokens;
      most = tokens > most ? tokens : most;
    }
    const int64_t rows = round_up(tile_.count, kTileDepth);
    queries_ = scratch.take<uint16_t>(rows * depth_);
    listed_ = scratch.take<uint16_t>(rows * depth_);
    block_ = kTileDepth * (round_up(most, kTile) > stride_ ? round_up(most, kTile) : stride_);
    sums_ = scratch.floats(2 * block_);
  }

  void load_queries(int64_t head) const {
    const uint16_t* query = static_cast<const uint16_t*>(p_.query);
    int64_t from = tile_.row * p_.stride_row + head * p_.stride_head + tile_.first * p_.stride_position;
    for (int64_t i = 0; i < tile_.count; ++i, from += p_.stride_position) {
      fetch(query, from + kAhead * p_.stride_position, p_);
      fetch(p_.out, place(tile_, head, i), p_);
      copy_padded(queries_ + i * depth_, query + from, p_.head_width);
    }
  }

  void score(int64_t head, const Span& span) const {
    const int64_t tokens = span.from->tokens, padded = round_up(tokens, kTileDepth), columns = (tokens + 15) / kTile;
    const int64_t count = all_ ? tile_.count : span.seers;
    const uint16_t* rows = queries_;
    if (count < tile_.count) {
      for (int64_t i = 0; i < count; ++i) copy(listed_ + i * depth_, queries_ + span.seen[i] * depth_);
      rows = listed_;
    }
    const uint16_t* keys =
        static_cast<const uint16_t*>(p_.panels) + span.from->keys + head * columns * kTile * depth_;
    uint16_t* scores = static_cast<uint16_t*>(span.scores);
    const auto take = [&](int64_t first, int64_t some, const float* sums) {
      for (int64_t i = 0; i < some; i += kTile, first += kTile, sums += kTile * columns * kTile) {
        const int64_t left = some - i < kTile ? some - i : kTile;
        alignas(64) float shift[kTile] = {}, total[kTile] = {};
        exponentiate_rows(
            left, columns, sums, tokens, p_.scale, 0.0f, shift, total, scores + first * padded, padded,
            [](int64_t, float) {});
        for (int64_t k = 0; k < left; ++k) {
          const int64_t position = count < tile_.count ? span.seen[first + k] : first + k;
          span.peak[position] = shift[k];
          span.total[position] = total[k];
        }
      }
    };
    multiply_in_turns(count, rows, depth_, p_.head_width, keys, columns, take);
  }

  void speak(int64_t head, const Span& span, float* result) const {
    const int64_t padded = round_up(span.from->tokens, kTileDepth);
    const uint16_t* values = static_cast<const uint16_t*>(p_.panels) + span.from->values + head * stride_ * padded;
    const uint16_t* scores = static_cast<const uint16_t*>(span.scores);
    // with the lse, positions that do not see the segment have scores, too; here all speak, and are not heard
    const int64_t count = all_ ? tile_.count : span.seers;
    const auto take = [&](int64_t first, int64_t some, const float* sums) {
      const int32_t* listed = count < tile_.count ? span.seen + first : nullptr;
      for (int64_t i = 0; i < some; ++i, sums += stride_) {
        const int64_t position = listed ? listed[i] : first + i;
        if (!(span.weight[position] > 0.0f)) continue;
        const __m512 factor = _mm512_set1_ps(span.factor[position]);
        float* to = result + position * stride_;
        for (int64_t d = 0; d < stride_; d += kTile) {
          _mm512_storeu_ps(to + d, _mm512_fmadd_ps(factor, _mm512_loadu_ps(sums + d), _mm512_loadu_ps(to + d)));
        }
      }
    };
    multiply_in_turns(count, scores, padded, span.from->tokens, values, stride_ / kTile, take);
  }

  void store(int64_t head, const float* result) const {
    uint16_t* out = static_cast<uint16_t*>(p_.out);
    for (int64_t i = 0; i < tile_.count; ++i, result += stride_) {
      store_bfloat16(out + place(tile_, head, i), result, p_.head_width);
    }
  }

 private:
  void copy(uint16_t* to, const uint16_t* from) const {
    for (int64_t d = 0; d < depth_; d += kTileDepth) _mm512_storeu_si512(to + d, _mm512_loadu_si512(from + d));
  }

  // take(first, some, sums) gets the sums [some, 16 columns] of `count` rows [depth] with the panel, 32 rows at a time;
  // AMX multiplies the next rows while it works on these.
  template <class Take>
  void multiply_in_turns(
      int64_t count, const uint16_t* rows, int64_t stride, int64_t depth, const uint16_t* panel, int64_t columns,
      const Take& take) const {
    const auto multiply = [&](int64_t first) {
      Products::multiply(
          rest(count, first), rows + first * stride, stride, depth, panel, columns, turn(first), columns * kTile);
    };
    if (count > 0) multiply(0);
    for (int64_t first = 0; first < count; first += kTileDepth) {
      if (first + kTileDepth < count) multiply(first + kTileDepth);
      take(first, rest(count, first), turn(first));
    }
  }

  static int64_t rest(int64_t count, int64_t first) { return count - first < kTileDepth ? count - first : kTileDepth; }
  float* turn(int64_t first) const { return sums_ + first / kTileDepth % 2 * block_; }

  const typename Products::Scope scope_ = {};
  const RegionalTile& tile_;
  const RaccordRegionalAttention& p_;
  const int64_t depth_, stride_;  // head width rounded up to 32 and to 16
  const bool all_;                // positions that do not see a segment meet its keys, too
  uint16_t* queries_;             // [count, depth]
  uint16_t* listed_;              // [count, depth], those of the positions that see a segment
  int64_t block_;                 // sums of 32 positions
  float* sums_;                   // [2, block]
};

}  // namespace
}  // namespace raccord
