// Regional attention of bfloat16 in AMX: products of bfloat16 numbers, everything else in float32, except that the
// exponentials are rounded to bfloat16 before they meet the values.
#include "amx.h"
#include "regional_attention_tile.h"

namespace raccord {
namespace {

static_assert(kPairs == kTileDepth && kLanes == kTile && kListed == kTile, "a tile's sizes are those of the scratch");

constexpr float kLog2E = 0x1.715476p+0f;

class AmxKernel {
 public:
  AmxKernel(const RegionalTile& given, Scratch& scratch)
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
    const uint16_t* from = static_cast<const uint16_t*>(p_.query) + tile_.row * p_.stride_row + head * p_.stride_head +
                           tile_.first * p_.stride_position;
    for (int64_t i = 0; i < tile_.count; ++i, from += p_.stride_position) {
      copy_padded(queries_ + i * depth_, from, p_.head_width);
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
    const auto multiply = [&](int64_t first) {
      const int64_t some = count - first < kTileDepth ? count - first : kTileDepth;
      float* sums = sums_ + first / kTileDepth % 2 * block_;
      multiply_panel(some, rows + first * depth_, depth_, depth_ / kTileDepth, keys, columns, sums, columns * kTile);
    };
    if (count > 0) multiply(0);
    for (int64_t first = 0; first < count; first += kTileDepth) {
      // the next products run while these are exponentiated
      if (first + kTileDepth < count) multiply(first + kTileDepth);
      const int64_t some = count - first < kTileDepth ? count - first : kTileDepth;
      const float* sums = sums_ + first / kTileDepth % 2 * block_;
      const int32_t* listed = count < tile_.count ? span.seen + first : nullptr;
      for (int64_t i = 0; i < some; ++i) {
        const int64_t position = listed ? listed[i] : first + i;
        exponentiate(
            columns, sums + i * columns * kTile, tokens, scores + (first + i) * padded, span.peak + position,
            span.total + position);
      }
    }
  }

  void speak(int64_t head, const Span& span, float* result) const {
    const int64_t padded = round_up(span.from->tokens, kTileDepth);
    const uint16_t* values = static_cast<const uint16_t*>(p_.panels) + span.from->values + head * stride_ * padded;
    const uint16_t* scores = static_cast<const uint16_t*>(span.scores);
    // with the lse, positions that do not see the segment have scores, too; here all speak, and are not heard
    const int64_t count = all_ ? tile_.count : span.seers;
    const auto multiply = [&](int64_t first) {
      const int64_t some = count - first < kTileDepth ? count - first : kTileDepth;
      float* sums = sums_ + first / kTileDepth % 2 * block_;
      multiply_panel(
          some, scores + first * padded, padded, padded / kTileDepth, values, stride_ / kTile, sums, stride_);
    };
    if (count > 0) multiply(0);
    for (int64_t first = 0; first < count; first += kTileDepth) {
      if (first + kTileDepth < count) multiply(first + kTileDepth);
      const int64_t some = count - first < kTileDepth ? count - first : kTileDepth;
      const float* sums = sums_ + first / kTileDepth % 2 * block_;
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
    }
  }

  void store(int64_t head, const float* result) const {
    const int64_t step = p_.heads * p_.head_width;
    uint16_t* to =
        static_cast<uint16_t*>(p_.out) + (tile_.row * p_.positions + tile_.first) * step + head * p_.head_width;
    for (int64_t i = 0; i < tile_.count; ++i, to += step, result += stride_) {
      store_bfloat16(to, result, p_.head_width);
    }
  }

 private:
  void copy(uint16_t* to, const uint16_t* from) const {
    for (int64_t d = 0; d < depth_; d += kTileDepth) _mm512_storeu_si512(to + d, _mm512_loadu_si512(from + d));
  }

  // Exponentials of the scaled sums less their largest, zeros up to a multiple of 32, and the largest and the total.
  void exponentiate(
      int64_t columns, const float* sums, int64_t tokens, uint16_t* out, float* peak, float* total) const {
    switch (columns) {
      case 1: return exponentiate_row<1>(1, sums, tokens, out, peak, total);
      case 2: return exponentiate_row<2>(2, sums, tokens, out, peak, total);
      case 3: return exponentiate_row<3>(3, sums, tokens, out, peak, total);
      case 4: return exponentiate_row<4>(4, sums, tokens, out, peak, total);
      case 5: return exponentiate_row<5>(5, sums, tokens, out, peak, total);
      default: return exponentiate_row<0>(columns, sums, tokens, out, peak, total);
    }
  }

  // COLUMNS vectors of tokens, so that the compiler can keep a row in registers; 0 for any number.
  template <int64_t COLUMNS>
  void exponentiate_row(
      int64_t any, const float* sums, int64_t tokens, uint16_t* out, float* peak, float* total) const {
    const int64_t columns = COLUMNS > 0 ? COLUMNS : any;
    const __mmask16 last = first_lanes(tokens - (columns - 1) * kTile);
    const __m512 lowest = _mm512_set1_ps(-HUGE_VALF), scale = _mm512_set1_ps(p_.scale);
    __m512 most = lowest;
    for (int64_t j = 0; j < columns; ++j) {
      const __mmask16 lanes = j < columns - 1 ? 0xffff : last;
      most = _mm512_max_ps(most, _mm512_mask_mul_ps(lowest, lanes, scale, _mm512_loadu_ps(sums + j * kTile)));
    }
    *peak = _mm512_reduce_max_ps(most);
    const __m512 steep = _mm512_set1_ps(p_.scale * kLog2E), shift = _mm512_set1_ps(-*peak * kLog2E);
    __m512 sum = _mm512_setzero_ps(), even = sum;
    for (int64_t j = 0; j < columns; ++j) {
      const __mmask16 lanes = j < columns - 1 ? 0xffff : last;
      const __m512 given = _mm512_loadu_ps(sums + j * kTile);
      const __m512 e = _mm512_maskz_mov_ps(lanes, power_of_two(_mm512_fmadd_ps(given, steep, shift)));
      sum = _mm512_add_ps(sum, e);
      if (j % 2 == 1) store_pair(out + (j - 1) * kTile, even, e);
      even = e;
    }
    if (columns % 2 == 1) store_pair(out + (columns - 1) * kTile, even, _mm512_setzero_ps());
    *total = _mm512_reduce_add_ps(sum);
  }

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

void attend_regional_amx(const RegionalTile& tile) {
  const Tiles tiles;
  attend<AmxKernel>(tile);
}

}  // namespace raccord
