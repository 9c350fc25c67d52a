#include "regional_attention_tile.h"

void raccord::attend_regional_avx2(const RegionalTile& tile) { attend(tile); }
