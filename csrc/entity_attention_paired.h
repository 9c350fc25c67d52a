// Entity attention of bfloat16 where `Products` (bfloat16.h) multiplies such numbers: everything else is in float32,
// except that the exponentials are rounded to bfloat16 before they meet the values.
#pragma once

#include "bfloat16.h"
#include "entity_attention_tile.h"

namespace raccord {
namespace {

template <class Products>
class PairedEntityKernel {
 public:
  static constexpr int64_t kTileQueries = 64;
  static_assert(kTileQueries % kTileDepth == 0 && kBlockKeys % kTileDepth == 0, "blocks are whole tiles");

  explicit PairedEntityKernel(const EntityHead& head)
      : p_(*head.params),
        width_(p_.head_width),
        depth_(round_up(width_, kTileDepth)),
        stride_(round_up(width_, kTile)),
        free_(head.panels) {
    sums_ = take<float>(kTileDepth * kBlockKeys);
    scores_ = take<uint16_t>(kTileDepth * kBlockKeys);
    queries_ = take<uint16_t>(kTileQueries * depth_);
    result_ = take<float>(kTileQueries * stride_);
    shift_ = take<float>(kTileQueries);
    total_ = take<float>(kTileQueries);
  }

  float* mark() const { return free_; }
  void release(float* mark) { free_ = mark; }

  // keys [tokens / 16, D / 32, 16, 16, 2] and values [D / 16, tokens / 32, 16, 16, 2], sizes rounded up.
  template <class Source>
  EntityBlock pack(const void* keys, const void* values, int64_t count, const Source& source) {
    const int64_t columns = round_up(count, kTile) / kTile, pairs = round_up(count, kTileDepth) / 2;
    uint32_t* key_panel = take<uint32_t>(columns * kTile * depth_ / 2);
    uint16_t* value_panel = take<uint16_t>(stride_ * pairs * 2);
    const uint16_t* all_keys = static_cast<const uint16_t*>(keys);
    uint32_t* columns_to = key_panel;
    for (int64_t first = 0; first < count; first += kTile) {
      const int64_t some = count - first < kTile ? count - first : kTile;
      const uint16_t* rows[kTile];
      for (int64_t i = 0; i < some; ++i) {
        rows[i] = all_keys + source(first + i);
        if (first + i + kTile < count) fetch_row(keys, source(first + i + kTile), p_);
      }
      for (int64_t d = 0; d < depth_; d += kTileDepth, columns_to += kTile * kTile) {
        const __mmask32 lanes = width_ - d >= kTileDepth ? 0xffffffffu : (1u << (width_ - d)) - 1;
        Vector block[kTile] = {};
        for (int64_t i = 0; i < some; ++i) {
          block[i].v = _mm512_castsi512_ps(_mm512_maskz_loadu_epi16(lanes, rows[i] + d));
        }
        transpose(block);
        for (int64_t i = 0; i < kTile; ++i) _mm512_storeu_ps(columns_to + i * kTile, block[i].v);
      }
    }
    const uint16_t* all_values = static_cast<const uint16_t*>(values);
    for (int64_t pair = 0; pair < pairs; ++pair) {
      for (int64_t j = 2 * pair + kAhead; j < 2 * pair + kAhead + 2 && j < count; ++j) fetch_row(values, source(j), p_);
      const uint16_t* even = 2 * pair < count ? all_values + source(2 * pair) : nullptr;
      const uint16_t* odd = 2 * pair + 1 < count ? all_values + source(2 * pair + 1) : nullptr;
      for (int64_t d = 0; d < stride_; d += kTile) {
        const __mmask16 lanes = first_lanes(width_ - d);
        const __m512i low = load_wide(even, d, lanes), high = load_wide(odd, d, lanes);
        uint16_t* to = value_panel + (d / kTile * pairs + pair) * 2 * kTile;
        _mm512_storeu_si512(to, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
      }
    }
    return {count, key_panel, value_panel};
  }

  template <class Offset>
  void begin(int64_t count, const Offset& offset) const {
    const uint16_t* query = static_cast<const uint16_t*>(p_.query);
    for (int64_t i = 0; i < count; ++i) {
      if (i + kAhead < count) fetch_row(query, offset(i + kAhead), p_);
      fetch_row(p_.out, offset(i), p_);
      copy_padded(queries_ + i * depth_, query + offset(i), width_);
    }
    for (int64_t i = 0; i < kTileQueries; ++i) {
      shift_[i] = 0.0f;
      total_[i] = 0.0f;
    }
    std::memset(result_, 0, static_cast<size_t>(kTileQueries * stride_) * sizeof(float));
  }

  void attend_block(const EntityBlock& block, int64_t count, float bias) const {
    const int64_t columns = round_up(block.tokens, kTile) / kTile, padded = round_up(block.tokens, kTileDepth);
    for (int64_t first = 0; first < count; first += kTileDepth) {
      const int64_t some = count - first < kTileDepth ? count - first : kTileDepth;
      Products::multiply(
          some, queries_ + first * depth_, depth_, width_, static_cast<const uint16_t*>(block.keys), columns, sums_,
          columns * kTile);
      for (int64_t i = 0; i < some; i += kTile) {
        exponentiate_rows(
            some - i < kTile ? some - i : kTile, columns, sums_ + i * columns * kTile, block.tokens, p_.scale, bias,
            shift_ + first + i, total_ + first + i, scores_ + i * padded, padded,
            [&](int64_t row, float factor) { rescale(result_ + (first + i + row) * stride_, factor); });
      }
      Products::template multiply<true>(
          some, scores_, padded, block.tokens, static_cast<const uint16_t*>(block.values), stride_ / kTile,
          result_ + first * stride_, stride_);
    }
  }

  template <class Offset>
  void end(int64_t count, bool sees, const Offset& offset) const {
    for (int64_t i = 0; i < count; ++i) {
      float* row = result_ + i * stride_;
      rescale(row, sees ? 1.0f / total_[i] : 0.0f);
      store_bfloat16(static_cast<uint16_t*>(p_.out) + offset(i), row, width_);
    }
  }

 private:
  template <class T>
  T* take(int64_t count) {
    void* taken = free_;
    free_ += round_up(count * static_cast<int64_t>(sizeof(T)), 64) / 4;
    return static_cast<T*>(taken);
  }

  // Sixteen bfloat16 numbers of a row, each in 32 bits; zeros where there is no row.
  static __m512i load_wide(const uint16_t* row, int64_t d, __mmask16 lanes) {
    if (row == nullptr) return _mm512_setzero_si512();
    return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, row + d));
  }

  void rescale(float* row, float factor) const {
    for (int64_t d = 0; d < stride_; d += kTile) {
      _mm512_storeu_ps(row + d, _mm512_mul_ps(_mm512_set1_ps(factor), _mm512_loadu_ps(row + d)));
    }
  }

  const typename Products::Scope scope_ = {};
  const RaccordEntityAttention& p_;
  const int64_t width_, depth_, stride_;  // head width, and rounded up to 32 and to 16
  float* free_;
  float* sums_;        // [32, keys of a block]
  uint16_t* scores_;   // [32, keys of a block]
  uint16_t* queries_;  // [kTileQueries, depth]
  float* result_;      // [kTileQueries, stride]
  float* shift_;       // [kTileQueries], what is taken off the scores
  float* total_;       // [kTileQueries], of the exponentials
};

}  // namespace
}  // namespace raccord
