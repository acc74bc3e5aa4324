// C11 threads by way of pthreads, for builds with ThreadSanitizer only: it intercepts pthreads but not the
// C library's own thrd_create, so a thread that librdkafka starts by it has no state of the sanitizer's and
// dies at its first intercepted call. In glibc the types of both are the same objects.
#include <errno.h>
#include <pthread.h>
#include <threads.h>

#include <cstdint>

namespace {

struct Start {
  thrd_start_t function;
  void* argument;
};

void* run(void* start) {
  const Start begun = *static_cast<Start*>(start);
  delete static_cast<Start*>(start);
  return reinterpret_cast<void*>(static_cast<std::intptr_t>(begun.function(begun.argument)));
}

int result(int error) {
  if (error == 0) return thrd_success;
  if (error == ETIMEDOUT) return thrd_timedout;
  return error == EBUSY ? thrd_busy : thrd_error;
}

pthread_mutex_t* mutex(mtx_t* of) { return reinterpret_cast<pthread_mutex_t*>(of); }
pthread_cond_t* condition(cnd_t* of) { return reinterpret_cast<pthread_cond_t*>(of); }

}  // namespace

static_assert(sizeof(mtx_t) == sizeof(pthread_mutex_t) && sizeof(cnd_t) == sizeof(pthread_cond_t));

extern "C" {

int thrd_create(thrd_t* thread, thrd_start_t function, void* argument) {
  return result(pthread_create(thread, nullptr, &run, new Start{function, argument}));
}
int thrd_join(thrd_t thread, int* value) {
  void* returned = nullptr;
  const int error = pthread_join(thread, &returned);
  if (value != nullptr) *value = static_cast<int>(reinterpret_cast<std::intptr_t>(returned));
  return result(error);
}
int thrd_detach(thrd_t thread) { return result(pthread_detach(thread)); }
int mtx_lock(mtx_t* of) { return result(pthread_mutex_lock(mutex(of))); }
int mtx_trylock(mtx_t* of) { return result(pthread_mutex_trylock(mutex(of))); }
int mtx_unlock(mtx_t* of) { return result(pthread_mutex_unlock(mutex(of))); }
int cnd_wait(cnd_t* of, mtx_t* with) { return result(pthread_cond_wait(condition(of), mutex(with))); }
int cnd_timedwait(cnd_t* of, mtx_t* with, const timespec* until) {
  return result(pthread_cond_timedwait(condition(of), mutex(with), until));
}
int cnd_signal(cnd_t* of) { return result(pthread_cond_signal(condition(of))); }
int cnd_broadcast(cnd_t* of) { return result(pthread_cond_broadcast(condition(of))); }

}  // extern "C"
