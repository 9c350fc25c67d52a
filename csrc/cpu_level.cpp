#include "cpu_level.h"

#include "raccord.h"

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
  return levels;
}

uint32_t runnable_levels() {
  uint32_t levels = 1u << RACCORD_SCALAR;
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (avx2) levels |= 1u << RACCORD_AVX2;
  if (avx2 && __builtin_cpu_supports("avx512f")) levels |= 1u << RACCORD_AVX512;
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
  const bool known = level >= RACCORD_SCALAR && level <= RACCORD_AVX512;
  return known && (usable >> level & 1u) ? level : -1;
}

}  // namespace raccord

int32_t raccord_abi(void) { return RACCORD_ABI; }

const char* raccord_version(void) { return RACCORD_VERSION; }

uint32_t raccord_cpu_levels(void) { return raccord::compiled_levels() | raccord::runnable_levels() << 16; }
