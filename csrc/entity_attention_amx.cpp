#include "amx.h"
#include "entity_attention_paired.h"

void raccord::attend_entity_amx(const EntityHead& head) { attend<PairedEntityKernel<Amx>>(head); }
