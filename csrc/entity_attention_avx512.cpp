#include "entity_attention_tile.h"

void raccord::attend_entity_avx512(const EntityHead& head) { attend(head); }
