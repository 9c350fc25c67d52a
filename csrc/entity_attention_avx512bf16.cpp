#include "avx512bf16.h"
#include "entity_attention_paired.h"

void raccord::attend_entity_avx512bf16(const EntityHead& head) { attend<PairedEntityKernel<Avx512Bf16>>(head); }
