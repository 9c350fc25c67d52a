// One head of one row of entity attention, compiled once a level.
//
// Positions are sorted by owner, so what a query sees is whole groups of keys and no mask is needed: groups it does not
// see are never touched. A tile is some queries of one owner; it meets the blocks of the groups that the owner sees in
// one order (own frame by owner, then the memory) with a running softmax. Every element of the result is a chain of
// operations of its own query, in the order of the keys, and a block never holds keys of two groups; so neither the
// other queries nor unseen keys can change a bit.
#pragma once

#include "entity_attention.h"
#include "product.h"

namespace raccord {
namespace {

// What a tile works in.
struct EntityTile {
  float* queries;  // [kTileQueries, D]
  float* scores;   // [kTileQueries, kBlockKeys]
  float* result;   // [kTileQueries, D rounded up to kLanes]
  float* peak;     // [kTileQueries]
  float* total;    // [kTileQueries]
  float* kept;     // [kTileQueries], what earlier blocks count after a new peak
};

inline void load_row(const void* tensor, bool bfloat16, int64_t from, int64_t width, float* out) {
  if (bfloat16) {
    const uint16_t* row = static_cast<const uint16_t*>(tensor) + from;
    for (int64_t d = 0; d < width; ++d) out[d] = from_bfloat16(row[d]);
  } else {
    std::memcpy(out, static_cast<const float*>(tensor) + from, static_cast<size_t>(width) * sizeof(float));
  }
}

// Keys and values of one group: source(j) is where the row of the j-th token begins. `buffer` holds kLanes rows.
template <class Source>
inline void pack_group(
    const EntityHead& head, const void* keys, const void* values, int64_t tokens, const Source& source, float* buffer,
    EntityGroup* group, int64_t* used_blocks, float** free) {
  const RaccordEntityAttention& p = *head.params;
  const int64_t width = p.head_width, stride = round_up(width, kLanes);
  group->first_block = *used_blocks;
  group->blocks = 0;
  for (int64_t first = 0; first < tokens; first += kBlockKeys) {
    const int64_t count = tokens - first < kBlockKeys ? tokens - first : kBlockKeys;
    const int64_t padded = round_up(count, kLanes);
    float* key_panel = *free;
    float* value_panel = key_panel + width * padded;
    *free = value_panel + count * stride;
    for (int64_t j = 0; j < padded; j += kLanes) {
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        float* row = buffer + lane * width;
        if (j + lane >= count) {
          std::memset(row, 0, static_cast<size_t>(width) * sizeof(float));
          continue;
        }
        const int64_t from = source(first + j + lane);
        load_row(keys, p.bfloat16 != 0, from, width, row);
        float* to = value_panel + (j + lane) * stride;
        load_row(values, p.bfloat16 != 0, from, width, to);
        for (int64_t d = width; d < stride; ++d) to[d] = 0.0f;
      }
      for (int64_t d = 0; d < width; ++d)
        for (int64_t lane = 0; lane < kLanes; ++lane) key_panel[d * padded + j + lane] = buffer[lane * width + d];
    }
    head.blocks[(*used_blocks)++] = {count, key_panel, value_panel};
    ++group->blocks;
  }
}

// Sorts the positions by owner and packs every group that somebody in the row sees.
inline void pack_row(const EntityHead& head, float* buffer, float* free) {
  const RaccordEntityAttention& p = *head.params;
  const uint8_t* owner = p.owner + head.row * p.positions;
  const uint8_t* visible = p.visible + head.row * p.kinds * p.kinds;
  for (int64_t kind = 0; kind <= p.kinds; ++kind) head.start[kind] = 0;
  for (int64_t i = 0; i < p.positions; ++i) ++head.start[owner[i] + 1];
  for (int64_t kind = 0; kind < p.kinds; ++kind) head.start[kind + 1] += head.start[kind];
  // Each start moves to the next one's place while its positions are written; afterwards all move back.
  for (int64_t i = 0; i < p.positions; ++i) head.order[head.start[owner[i]]++] = static_cast<int32_t>(i);
  for (int64_t kind = p.kinds; kind > 0; --kind) head.start[kind] = head.start[kind - 1];
  head.start[0] = 0;

  int64_t used = 0;
  for (int64_t kind = 0; kind < p.kinds; ++kind) {
    bool seen = false;
    for (int64_t by = 0; by < p.kinds; ++by) {
      seen = seen || (visible[by * p.kinds + kind] && head.start[by + 1] > head.start[by]);
    }
    const int32_t* order = head.order + head.start[kind];
    const int64_t base = head.row * p.positions;
    pack_group(
        head, p.key, p.value, seen ? head.start[kind + 1] - head.start[kind] : 0,
        [&](int64_t j) { return ((base + order[j]) * p.heads + head.head) * p.head_width; }, buffer, head.groups + kind,
        &used, &free);
    EntityGroup* memory = head.groups + p.kinds + kind;
    *memory = {0, 0};
    if (kind == 0 || p.bank_bias == -HUGE_VALF || head.start[kind + 1] == head.start[kind]) continue;
    const int32_t* segment = p.bank_segments + (head.row * (p.kinds - 1) + kind - 1) * 2;
    pack_group(
        head, p.bank_key, p.bank_value, segment[1],
        [&](int64_t j) { return ((segment[0] + j) * p.heads + head.head) * p.head_width; }, buffer, memory, &used, &free);
  }
}

inline void attend_block(
    const EntityTile& tile, const EntityBlock& block, int64_t count, int64_t head_width, float scale, float bias) {
  const int64_t padded = round_up(block.tokens, kLanes), stride = round_up(head_width, kLanes);
  const int64_t width = Vector::kWidth;
  const Vector scales = broadcast(scale), biases = broadcast(bias);
  multiply_rows(
      count, tile.queries, head_width, head_width, block.keys, padded, padded / width,
      [=](int64_t i, int64_t n, Vector sum) {
        store(tile.scores + i * padded + n * width, fused(sum, scales, biases));
      });
  float before[kTileQueries];
  for (int64_t i = 0; i < count; ++i) {
    float* row = tile.scores + i * padded;
    for (int64_t j = block.tokens; j < padded; ++j) row[j] = -HUGE_VALF;
    const float highest = largest(row, padded);
    before[i] = tile.peak[i];
    tile.peak[i] = highest > before[i] ? highest : before[i];
  }
  for (int64_t i = count; i < round_up(count, kLanes); ++i) before[i] = tile.peak[i];
  for (int64_t i = 0; i < count; i += width) {
    store(tile.kept + i, exponential(subtract(load(before + i), load(tile.peak + i))));
  }
  for (int64_t i = 0; i < count; ++i) {
    const float sum = exponentiate(tile.scores + i * padded, padded, tile.peak[i]);
    tile.total[i] = fmaf(tile.total[i], tile.kept[i], sum);
  }
  multiply_rows(
      count, tile.scores, padded, block.tokens, block.values, stride, round_up(head_width, width) / width,
      [=](int64_t i, int64_t n, Vector sum) {
        float* to = tile.result + i * stride + n * width;
        store(to, fused(load(to), broadcast(tile.kept[i]), sum));
      });
}

// `count` listed positions, all of owner `kind`.
inline void attend_tile(
    const EntityHead& head, const EntityTile& tile, int64_t kind, const int32_t* positions, int64_t count) {
  const RaccordEntityAttention& p = *head.params;
  const int64_t stride = round_up(p.head_width, kLanes);
  const auto offset = [&](int64_t i) {
    return ((head.row * p.positions + positions[i]) * p.heads + head.head) * p.head_width;
  };
  for (int64_t i = 0; i < count; ++i) {
    load_row(p.query, p.bfloat16 != 0, offset(i), p.head_width, tile.queries + i * p.head_width);
  }
  for (int64_t i = 0; i < kTileQueries; ++i) {
    tile.peak[i] = -3.0e38f;
    tile.total[i] = 0.0f;
  }
  std::memset(tile.result, 0, static_cast<size_t>(count * stride) * sizeof(float));
  const uint8_t* visible = p.visible + (head.row * p.kinds + kind) * p.kinds;
  bool sees = false;
  for (int64_t g = 0; g < p.kinds + 1; ++g) {
    const bool memory = g == p.kinds;
    if (!memory && !visible[g]) continue;
    const EntityGroup& group = head.groups[memory ? p.kinds + kind : g];
    for (int64_t b = group.first_block; b < group.first_block + group.blocks; ++b) {
      attend_block(tile, head.blocks[b], count, p.head_width, p.scale, memory ? p.bank_bias : 0.0f);
      sees = true;
    }
  }
  for (int64_t i = 0; i < count; ++i) {
    float* row = tile.result + i * stride;
    const float share = sees ? 1.0f / tile.total[i] : 0.0f;
    if (p.bfloat16) {
      uint16_t* out = static_cast<uint16_t*>(p.out) + offset(i);
      for (int64_t d = 0; d < p.head_width; ++d) out[d] = to_bfloat16(row[d] * share);
    } else {
      float* out = static_cast<float*>(p.out) + offset(i);
      for (int64_t d = 0; d < p.head_width; ++d) out[d] = row[d] * share;
    }
  }
}

inline void attend(const EntityHead& head) {
  const RaccordEntityAttention& p = *head.params;
  float* free = head.panels;
  const auto take = [&free](int64_t floats) {
    float* taken = free;
    free += floats;
    return taken;
  };
  EntityTile tile;
  tile.scores = take(kTileQueries * kBlockKeys);
  tile.result = take(kTileQueries * round_up(p.head_width, kLanes));
  tile.queries = take(kTileQueries * p.head_width);
  tile.peak = take(kTileQueries);
  tile.total = take(kTileQueries);
  tile.kept = take(kTileQueries);
  // before any query is loaded, their place is free
  static_assert(kTileQueries >= kLanes, "the queries' place holds the rows that are packed at a time");
  pack_row(head, tile.queries, free);
  for (int64_t kind = 0; kind < p.kinds; ++kind) {
    for (int64_t first = head.start[kind]; first < head.start[kind + 1]; first += kTileQueries) {
      const int64_t left = head.start[kind + 1] - first;
      attend_tile(head, tile, kind, head.order + first, left < kTileQueries ? left : kTileQueries);
    }
  }
}

}  // namespace
}  // namespace raccord
