#include "regional_attention_tile.h"

void raccord::attend_regional_avx512(const RegionalTile& tile) { attend(tile); }
