// Which instruction sets were compiled in and which this CPU can run.
#pragma once

#include <cstdint>

namespace raccord {

// RACCORD_BEST becomes the highest level that is compiled in and can run; -1 if the level asked for is neither.
int32_t resolve_level(int32_t level);

}  // namespace raccord
