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
#ifdef RACCORD_HAS_AVX512BF16
  levels |= 1u << RACCORD_AVX512BF16;
#endif
#ifdef RACCORD_HAS_AMX
  levels |= 1u << RACCORD_AMX;
#endif
  return levels;
}

// Levels above AVX-512: AVX512-BF16, where the CPU has the rest of AVX-512 that its files are compiled for; and AMX for
// bfloat16, which Linux wants to be asked for, once a process, as tiles make what it saves of a thread larger.
uint32_t bfloat16_levels() {
#if defined(__x86_64__) && defined(__linux__)
  constexpr unsigned kAvx512Bf16 = 1u << 5, kAmxBf16 = 1u << 22, kAmxTile = 1u << 24;
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  unsigned a, b, c, d;
  if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a & kAvx512Bf16)) return 0;
  if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq")) return 0;
  if (!__builtin_cpu_supports("avx512vl")) return 0;
  const bool amx = __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & kAmxBf16) && (d & kAmxTile) &&
                   syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
  return 1u << RACCORD_AVX512BF16 | (amx ? 1u << RACCORD_AMX : 0);
#else
  return 0;
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
    static std::atomic<int64_t> above = -1;
    if (above < 0) above = bfloat16_levels();
    levels |= static_cast<uint32_t>(above);
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
