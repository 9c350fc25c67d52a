// Entity attention of bfloat16 in AMX: products of bfloat16 numbers, everything else in float32, except that the
// exponentials are rounded to bfloat16 before they meet the values.
#include "amx.h"
#include "entity_attention_tile.h"

namespace raccord {
namespace {

constexpr float kLog2E = 0x1.715476p+0f;

static_assert(kTileQueries % kTileDepth == 0 && kBlockKeys % kTileDepth == 0, "blocks are whole tiles");

class AmxEntityKernel {
 public:
  explicit AmxEntityKernel(const EntityHead& head)
      : p_(*head.params),
        width_(p_.head_width),
        depth_(round_up(width_, kTileDepth)),
        stride_(round_up(width_, kTile)),
        free_(head.panels) {
    sums_ = take<float>(kTileDepth * (kBlockKeys > stride_ ? kBlockKeys : stride_));
    scores_ = take<uint16_t>(kTileDepth * kBlockKeys);
    queries_ = take<uint16_t>(kTileQueries * depth_);
    result_ = take<float>(kTileQueries * stride_);
    peak_ = take<float>(kTileQueries);
    total_ = take<float>(kTileQueries);
    kept_ = take<float>(kTileDepth);
  }

  // keys [tokens / 16, D / 32, 16, 16, 2] and values [D / 16, tokens / 32, 16, 16, 2], sizes rounded up.
  template <class Source>
  EntityBlock pack(const void* keys, const void* values, int64_t count, const Source& source) {
    const int64_t columns = round_up(count, kTile) / kTile, pairs = round_up(count, kTileDepth) / 2;
    const int64_t depth = depth_ / kTileDepth;
    uint32_t* key_panel = take<uint32_t>(columns * kTile * depth_ / 2);
    uint16_t* value_panel = take<uint16_t>(stride_ * pairs * 2);
    alignas(64) uint32_t row[kTile];
    std::memset(key_panel, 0, static_cast<size_t>(columns * kTile * depth_) * 2);
    const uint16_t* all_keys = static_cast<const uint16_t*>(keys);
    for (int64_t j = 0; j < count; ++j) {
      const uint16_t* key = all_keys + source(j);
      uint32_t* to = key_panel + j / kTile * depth * 256 + j % kTile;
      for (int64_t d = 0; d < depth; ++d, to += 256) {
        copy_padded_part(reinterpret_cast<uint16_t*>(row), key + d * kTileDepth, width_ - d * kTileDepth);
        for (int64_t k = 0; k < kTile; ++k) to[k * kTile] = row[k];
      }
    }
    const uint16_t* all_values = static_cast<const uint16_t*>(values);
    for (int64_t pair = 0; pair < pairs; ++pair) {
      const uint16_t* even = 2 * pair < count ? all_values + source(2 * pair) : nullptr;
      const uint16_t* odd = 2 * pair + 1 < count ? all_values + source(2 * pair + 1) : nullptr;
      for (int64_t d = 0; d < stride_; d += kTile) {
        const __mmask16 lanes = first_lanes(width_ - d);
        const __m512i low = even ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, even + d)) : _mm512_setzero_si512();
        const __m512i high = odd ? _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, odd + d)) : _mm512_setzero_si512();
        uint16_t* to = value_panel + (d / kTile * pairs + pair) * 2 * kTile;
        _mm512_storeu_si512(to, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
      }
    }
    return {count, key_panel, value_panel};
  }

  template <class Offset>
  void begin(int64_t count, const Offset& offset) const {
    const uint16_t* query = static_cast<const uint16_t*>(p_.query);
    for (int64_t i = 0; i < count; ++i) copy_padded(queries_ + i * depth_, query + offset(i), width_);
    for (int64_t i = 0; i < kTileQueries; ++i) {
      peak_[i] = kNoPeak;
      total_[i] = 0.0f;
    }
    std::memset(result_, 0, static_cast<size_t>(count * stride_) * sizeof(float));
  }

  void attend_block(const EntityBlock& block, int64_t count, float bias) const {
    const int64_t columns = round_up(block.tokens, kTile) / kTile, padded = round_up(block.tokens, kTileDepth);
    for (int64_t first = 0; first < count; first += kTileDepth) {
      const int64_t some = count - first < kTileDepth ? count - first : kTileDepth;
      multiply_panel(
          some, queries_ + first * depth_, depth_, depth_ / kTileDepth, static_cast<const uint16_t*>(block.keys),
          columns, sums_, columns * kTile);
      for (int64_t i = 0; i < some; ++i) exponentiate(columns, block.tokens, bias, i, first + i, scores_ + i * padded);
      multiply_panel(
          some, scores_, padded, padded / kTileDepth, static_cast<const uint16_t*>(block.values), stride_ / kTile,
          sums_, stride_);
      for (int64_t i = 0; i < some; ++i) {
        const __m512 kept = _mm512_set1_ps(kept_[i]);
        float* to = result_ + (first + i) * stride_;
        for (int64_t d = 0; d < stride_; d += kTile) {
          const __m512 sum = _mm512_loadu_ps(sums_ + i * stride_ + d);
          _mm512_storeu_ps(to + d, _mm512_fmadd_ps(kept, _mm512_loadu_ps(to + d), sum));
        }
      }
    }
  }

  template <class Offset>
  void end(int64_t count, bool sees, const Offset& offset) const {
    for (int64_t i = 0; i < count; ++i) {
      float* row = result_ + i * stride_;
      const __m512 share = _mm512_set1_ps(sees ? 1.0f / total_[i] : 0.0f);
      for (int64_t d = 0; d < stride_; d += kTile) {
        _mm512_storeu_ps(row + d, _mm512_mul_ps(share, _mm512_loadu_ps(row + d)));
      }
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

  // Up to 32 of the `left` bfloat16 numbers, and zeros.
  static void copy_padded_part(uint16_t* to, const uint16_t* from, int64_t left) {
    copy_padded(to, from, left < kTileDepth ? left : kTileDepth);
  }

  // Exponentials of row i's sums, scaled and shifted, less the largest so far of query q.
  void exponentiate(int64_t columns, int64_t tokens, float bias, int64_t i, int64_t q, uint16_t* out) const {
    const float* sums = sums_ + i * columns * kTile;
    const __mmask16 last = first_lanes(tokens - (columns - 1) * kTile);
    const __m512 lowest = _mm512_set1_ps(-HUGE_VALF), scale = _mm512_set1_ps(p_.scale);
    __m512 most = lowest;
    for (int64_t j = 0; j < columns; ++j) {
      const __mmask16 lanes = j < columns - 1 ? 0xffff : last;
      most = _mm512_max_ps(most, _mm512_mask_mul_ps(lowest, lanes, scale, _mm512_loadu_ps(sums + j * kTile)));
    }
    const float highest = _mm512_reduce_max_ps(most) + bias, before = peak_[q];
    const float peak = highest > before ? highest : before;
    peak_[q] = peak;
    const __m512 steep = _mm512_set1_ps(p_.scale * kLog2E), shift = _mm512_set1_ps((bias - peak) * kLog2E);
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
    kept_[i] = _mm512_cvtss_f32(power_of_two(_mm512_set1_ps((before - peak) * kLog2E)));
    total_[q] = fmaf(total_[q], kept_[i], _mm512_reduce_add_ps(sum));
  }

  const RaccordEntityAttention& p_;
  const int64_t width_, depth_, stride_;  // head width, and rounded up to 32 and to 16
  float* free_;
  float* sums_;        // [32, keys of a block or stride]
  uint16_t* scores_;   // [32, keys of a block]
  uint16_t* queries_;  // [kTileQueries, depth]
  float* result_;      // [kTileQueries, stride]
  float* peak_;        // [kTileQueries]
  float* total_;       // [kTileQueries]
  float* kept_;        // [32], what earlier blocks count after a new peak
};

}  // namespace

void attend_entity_amx(const EntityHead& head) {
  const Tiles tiles;
  attend<AmxEntityKernel>(head);
}

}  // namespace raccord
