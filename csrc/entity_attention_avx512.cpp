#include "entity_attention_float.h"

void raccord::attend_entity_avx512(const EntityHead& head) { attend<FloatEntityKernel>(head); }
