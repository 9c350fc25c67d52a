#include "regional_attention_float.h"

void raccord::attend_regional_avx2(const RegionalTile& tile) { attend<FloatKernel>(tile); }
