#include "avx512bf16.h"
#include "regional_attention_paired.h"

void raccord::attend_regional_avx512bf16(const RegionalTile& tile) { attend<PairedKernel<Avx512Bf16>>(tile); }
