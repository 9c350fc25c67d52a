#include "cpu_level.h"

#include <atomic>

#include "raccord.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace raccord {
namespace {

uint32_t compiled_levels() {
  uint32_t levels = 1u << RACCORD_SCALAR;
#ifdef RACCORD_HAS_AVX2
  levels |= 1u << RACCORD_AVX2;
#endif
#ifdef RACCORD_HAS_AVX512
  levels |= 1u << RACCORD_AVX512;
#endif
#ifdef RACCORD_HAS_AMX
  levels |= 1u << RACCORD_AMX;
#endif
  return levels;
}

// Whether the CPU has AMX for bfloat16, and the AVX-512 that goes with it, and the system lets this process use it:
// Linux wants to be asked, once a process, as tiles make what it saves of a thread larger.
bool may_use_amx() {
#if defined(__x86_64__) && defined(__linux__)
  constexpr unsigned kAmxBf16 = 1u << 22, kAmxTile = 1u << 24, kAvx512Bf16 = 1u << 5;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & kAmxBf16) || !(d & kAmxTile)) return false;
  if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & kAvx512Bf16)) return false;
  if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq")) return false;
  if (!__builtin_cpu_supports("avx512vl")) return false;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

uint32_t runnable_levels() {
  uint32_t levels = 1u << RACCORD_SCALAR;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2) levels |= 1u << RACCORD_AVX2;
  if (avx2 && __builtin_cpu_supports("avx512f")) {
    levels |= 1u << RACCORD_AVX512;
    // CPUID is slow in a virtual machine
    static std::atomic<int> amx = -1;
    if (amx < 0) amx = may_use_amx();
    if (amx > 0) levels |= 1u << RACCORD_AMX;
  }
#endif
  return levels;
}

}  // namespace

int32_t resolve_level(int32_t level) {
  const uint32_t usable = compiled_levels() & runnable_levels();
  if (level == RACCORD_BEST) {
    int32_t best = RACCORD_SCALAR;
    while (usable >> (best + 1)) ++best;
    return best;
  }
  const bool known = level >= RACCORD_SCALAR && level <= RACCORD_AMX;
  return known && (usable >> level & 1u) ? level : -1;
}

}  // namespace raccord

int32_t raccord_abi(void) { return RACCORD_ABI; }

const char* raccord_version(void) { return RACCORD_VERSION; }

uint32_t raccord_cpu_levels(void) { return raccord::compiled_levels() | raccord::runnable_levels() << 16; }
