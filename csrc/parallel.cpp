#include "parallel.h"

#include <pthread.h>

namespace raccord {
namespace {

constexpr int64_t kMostThreads = 256;

struct Start {
  void (*worker)(void*);
  void* context;
};

void* begin(void* start) {
  const Start* s = static_cast<const Start*>(start);
  s->worker(s->context);
  return nullptr;
}

}  // namespace

void run_on_threads(int64_t threads, void (*worker)(void*), void* context) {
  Start start = {worker, context};
  pthread_t others[kMostThreads];
  const int64_t wanted = threads - 1 < kMostThreads ? threads - 1 : kMostThreads;
  int64_t started = 0;
  while (started < wanted && pthread_create(&others[started], nullptr, begin, &start) == 0) ++started;
  worker(context);
  for (int64_t i = 0; i < started; ++i) pthread_join(others[i], nullptr);
}

}  // namespace raccord
