#include "regional_attention_float.h"

void raccord::attend_regional_avx512(const RegionalTile& tile) { attend<FloatKernel>(tile); }
