#include "entity_attention_tile.h"

void raccord::attend_entity_avx2(const EntityHead& head) { attend(head); }
