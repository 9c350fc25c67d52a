// One head of one row of entity attention, in the arithmetic that `Kernel` names, compiled once a level.
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

// The score that no block has had a say in yet.
constexpr float kNoPeak = -3.0e38f;

inline void sort_positions(const EntityHead& head) {
  const RaccordEntityAttention& p = *head.params;
  const uint8_t* owner = p.owner + head.row * p.positions;
  for (int64_t kind = 0; kind <= p.kinds; ++kind) head.start[kind] = 0;
  for (int64_t i = 0; i < p.positions; ++i) ++head.start[owner[i] + 1];
  for (int64_t kind = 0; kind < p.kinds; ++kind) head.start[kind + 1] += head.start[kind];
  // Each start moves to the next one's place while its positions are written; afterwards all move back.
  for (int64_t i = 0; i < p.positions; ++i) head.order[head.start[owner[i]]++] = static_cast<int32_t>(i);
  for (int64_t kind = p.kinds; kind > 0; --kind) head.start[kind] = head.start[kind - 1];
  head.start[0] = 0;
}

// Rows are fetched so many before they are needed: they lie apart, which the processor does not foresee.
constexpr int64_t kAhead = 8;

inline void fetch_row(const void* tensor, int64_t from, const RaccordEntityAttention& p) {
  const int64_t size = p.bfloat16 ? 2 : 4;
  const char* row = static_cast<const char*>(tensor) + from * size;
  for (int64_t b = 0; b < p.head_width * size; b += 64) __builtin_prefetch(row + b);
}

// Keys and values of one group: source(j) is where the row of the j-th token begins.
template <class Kernel, class Source>
inline void pack_group(
    const EntityHead& head, Kernel& kernel, const void* keys, const void* values, int64_t tokens, const Source& source,
    EntityGroup* group, int64_t* used_blocks) {
  group->first_block = *used_blocks;
  group->blocks = 0;
  for (int64_t first = 0; first < tokens; first += kBlockKeys) {
    const int64_t count = tokens - first < kBlockKeys ? tokens - first : kBlockKeys;
    head.blocks[(*used_blocks)++] = kernel.pack(keys, values, count, [&](int64_t j) { return source(first + j); });
    ++group->blocks;
  }
}

// Packs every group of the own frame that somebody in the row sees.
template <class Kernel>
inline void pack_frame(const EntityHead& head, Kernel& kernel, int64_t* used) {
  const RaccordEntityAttention& p = *head.params;
  const uint8_t* visible = p.visible + head.row * p.kinds * p.kinds;
  for (int64_t kind = 0; kind < p.kinds; ++kind) {
    bool seen = false;
    for (int64_t by = 0; by < p.kinds; ++by) {
      seen = seen || (visible[by * p.kinds + kind] && head.start[by + 1] > head.start[by]);
    }
    const int32_t* order = head.order + head.start[kind];
    const int64_t base = head.row * p.positions;
    pack_group(
        head, kernel, p.key, p.value, seen ? head.start[kind + 1] - head.start[kind] : 0,
        [&](int64_t j) { return ((base + order[j]) * p.heads + head.head) * p.head_width; }, head.groups + kind, used);
  }
}

// Packs the memory of entity `kind`, or nothing, behind the `used` blocks of the own frame.
template <class Kernel>
inline void pack_memory(const EntityHead& head, Kernel& kernel, int64_t kind, int64_t used) {
  const RaccordEntityAttention& p = *head.params;
  EntityGroup* memory = head.groups + p.kinds + kind;
  *memory = {0, 0};
  if (kind == 0 || p.bank_bias == -HUGE_VALF) return;
  const int32_t* segment = p.bank_segments + (head.row * (p.kinds - 1) + kind - 1) * 2;
  pack_group(
      head, kernel, p.bank_key, p.bank_value, segment[1],
      [&](int64_t j) { return ((segment[0] + j) * p.heads + head.head) * p.head_width; }, memory, &used);
}

// `count` listed positions, all of owner `kind`.
template <class Kernel>
inline void attend_tile(
    const EntityHead& head, Kernel& kernel, int64_t kind, const int32_t* positions, int64_t count) {
  const RaccordEntityAttention& p = *head.params;
  const auto offset = [&](int64_t i) {
    return ((head.row * p.positions + positions[i]) * p.heads + head.head) * p.head_width;
  };
  kernel.begin(count, offset);
  const uint8_t* visible = p.visible + (head.row * p.kinds + kind) * p.kinds;
  bool sees = false;
  for (int64_t g = 0; g < p.kinds + 1; ++g) {
    const bool memory = g == p.kinds;
    if (!memory && !visible[g]) continue;
    const EntityGroup& group = head.groups[memory ? p.kinds + kind : g];
    for (int64_t b = group.first_block; b < group.first_block + group.blocks; ++b) {
      kernel.attend_block(head.blocks[b], count, memory ? p.bank_bias : 0.0f);
      sees = true;
    }
  }
  kernel.end(count, sees, offset);
}

template <class Kernel>
inline void attend(const EntityHead& head) {
  const RaccordEntityAttention& p = *head.params;
  Kernel kernel(head);
  sort_positions(head);
  int64_t used = 0;
  pack_frame(head, kernel, &used);
  float* const mark = kernel.mark();
  for (int64_t kind = 0; kind < p.kinds; ++kind) {
    if (head.start[kind + 1] == head.start[kind]) continue;
    kernel.release(mark);
    pack_memory(head, kernel, kind, used);
    for (int64_t first = head.start[kind]; first < head.start[kind + 1]; first += Kernel::kTileQueries) {
      const int64_t left = head.start[kind + 1] - first;
      attend_tile(head, kernel, kind, head.order + first, left < Kernel::kTileQueries ? left : Kernel::kTileQueries);
    }
  }
}

}  // namespace
}  // namespace raccord
