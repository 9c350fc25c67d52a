#include "guided_step.h"

void raccord::step_row_avx512(const GuidedRow& row, const float* noise, int64_t first, int64_t count) {
  step_row(row, noise, first, count);
}
