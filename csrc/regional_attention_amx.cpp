#include "amx.h"
#include "regional_attention_paired.h"

void raccord::attend_regional_amx(const RegionalTile& tile) { attend<PairedKernel<Amx>>(tile); }
