// Threads for one call: started, and joined before it returns. No pool, so nothing outlives the call or breaks on fork.
#pragma once

#include <cstdint>

namespace raccord {

// Calls worker(context) on this thread and on up to `threads` - 1 new ones, and returns when all have. Where the system
// refuses a thread, the others do its work: a worker takes pieces of work from `context` until none is left.
void run_on_threads(int64_t threads, void (*worker)(void* context), void* context);

}  // namespace raccord
