// What entity_attention.cpp hands to the levels: one head of one row.
#pragma once

#include <cstdint>

#include "raccord.h"

namespace raccord {

// Keys multiplied at a time: their panel and a tile's scores stay in the second-level cache. Bits depend on it.
constexpr int64_t kBlockKeys = 192;
// Most queries multiplied at a time; no bit depends on it.
constexpr int64_t kMostQueries = 64;

// At most kBlockKeys keys of one group, and their values.
struct EntityBlock {
  int64_t tokens;
  const void* keys;    // where each key's float32 row begins, const float* [tokens], or a panel of bfloat16
  const void* values;  // likewise
};

// Keys that are seen or not seen together: the positions of one owner, or one entity's memory.
struct EntityGroup {
  int64_t first_block, blocks;
};

struct EntityHead {
  const RaccordEntityAttention* params;
  int64_t row, head;
  float* panels;        // what a tile works in, then keys and values of all groups
  int32_t* order;       // [positions], sorted by owner
  int64_t* start;       // [kinds + 1], where an owner's positions start in `order`
  EntityBlock* blocks;  // of all groups
  EntityGroup* groups;  // [2 * kinds]: of each owner, then the memory of each entity
};

using AttendEntity = void (*)(const EntityHead& head);

void attend_entity_scalar(const EntityHead& head);
void attend_entity_avx2(const EntityHead& head);
void attend_entity_avx512(const EntityHead& head);
void attend_entity_avx512bf16(const EntityHead& head);
void attend_entity_amx(const EntityHead& head);

}  // namespace raccord
