#include "entity_attention_float.h"

void raccord::attend_entity_avx2(const EntityHead& head) { attend<FloatEntityKernel>(head); }
