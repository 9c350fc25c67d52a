#include <atomic>
#include <cstdlib>

#include "cpu_level.h"
#include "entity_attention_float.h"
#include "parallel.h"

namespace raccord {
namespace {

// Work that a thread must have to be worth its start, in multiply-adds.
constexpr int64_t kLeastWork = 4 << 20;

AttendEntity attend_entity_of(int32_t level, bool bfloat16) {
  switch (level) {
#ifdef RACCORD_HAS_AMX
    case RACCORD_AMX:
      if (bfloat16) return attend_entity_amx;
      [[fallthrough]];
#endif
#ifdef RACCORD_HAS_AVX512BF16
    case RACCORD_AVX512BF16:
      if (bfloat16) return attend_entity_avx512bf16;
      [[fallthrough]];
#endif
#ifdef RACCORD_HAS_AVX512
    case RACCORD_AVX512: return attend_entity_avx512;
#endif
#ifdef RACCORD_HAS_AVX2
    case RACCORD_AVX2: return attend_entity_avx2;
#endif
    default: return attend_entity_scalar;
  }
}

// Bytes of the parts of one thread's memory: the own frame's keys and values, and the longest memory's.
struct Room {
  int64_t panels, order, start, blocks, groups;

  explicit Room(const RaccordEntityAttention& p) {
    int64_t most = 0;
    for (int64_t i = 0; i < p.rows * (p.kinds - 1); ++i) {
      most = p.bank_segments[2 * i + 1] > most ? p.bank_segments[2 * i + 1] : most;
    }
    // for the kernel of any level; 32 is what bfloat16's panels round keys and widths up to, the 2 are a pointer
    const int64_t tokens = p.positions + most, stride = round_up(p.head_width, 32);
    const int64_t whole = tokens / kBlockKeys + p.kinds + 1;
    const int64_t tile = kMostQueries * (kBlockKeys + 3 * stride + 4);
    panels = bytes((tokens + whole * 32) * 2 * (stride + 2) + tile, sizeof(float));
    order = bytes(p.positions, sizeof(int32_t));
    start = bytes(p.kinds + 1, sizeof(int64_t));
    blocks = bytes(whole, sizeof(EntityBlock));
    groups = bytes(2 * p.kinds, sizeof(EntityGroup));
  }

  static int64_t bytes(int64_t count, size_t size) { return round_up(count * static_cast<int64_t>(size), 64); }
};

struct Work {
  const RaccordEntityAttention* params;
  AttendEntity attend;
  const Room* room;
  int64_t count;
  std::atomic<int64_t> next;
};

// Without memory the thread leaves its part to others.
void attend_heads(void* context) {
  Work& work = *static_cast<Work*>(context);
  const Room& room = *work.room;
  const int64_t bytes = room.panels + room.order + room.start + room.blocks + room.groups;
  char* memory = static_cast<char*>(std::aligned_alloc(64, static_cast<size_t>(bytes)));
  if (memory == nullptr) return;
  EntityHead head = {};
  void* part = memory;
  const auto take = [&](int64_t size) {
    void* taken = part;
    part = static_cast<char*>(part) + size;
    return taken;
  };
  head.params = work.params;
  head.panels = static_cast<float*>(take(room.panels));
  head.order = static_cast<int32_t*>(take(room.order));
  head.start = static_cast<int64_t*>(take(room.start));
  head.blocks = static_cast<EntityBlock*>(take(room.blocks));
  head.groups = static_cast<EntityGroup*>(take(room.groups));
  for (int64_t piece = work.next++; piece < work.count; piece = work.next++) {
    head.row = piece / work.params->heads;
    head.head = piece % work.params->heads;
    work.attend(head);
  }
  std::free(memory);
}

}  // namespace

void attend_entity_scalar(const EntityHead& head) { attend<FloatEntityKernel>(head); }

}  // namespace raccord

int32_t raccord_entity_attention(const RaccordEntityAttention* params, int32_t level) {
  using namespace raccord;
  level = resolve_level(level);
  if (level < 0) return RACCORD_BAD_LEVEL;
  const RaccordEntityAttention& p = *params;
  const Room room(p);
  Work work = {};
  work.params = params;
  work.attend = attend_entity_of(level, p.bfloat16 != 0);
  work.room = &room;
  work.count = p.rows * p.heads;
  const int64_t worth = 2 * work.count * p.positions * p.positions * p.head_width / kLeastWork + 1;
  const int64_t wanted = p.threads < worth ? p.threads : worth;
  run_on_threads(wanted < work.count ? wanted : work.count, attend_heads, &work);
  return work.next < work.count ? RACCORD_NO_MEMORY : RACCORD_OK;
}
