// Mutex, MutexLock, CondVar: the standard ones with the annotations that clang -Wthread-safety
// checks.
//
//   Mutex mutex_;
//   int waiting_ LEVADA_GUARDED_BY(mutex_) = 0;
//   …
//   MutexLock lock(mutex_);
//   while (waiting_ == 0) changed_.wait(mutex_);
//
// Threads:  that is what they are for.
// Failures: none; a condition is waited for in a loop, because wake-ups may be spurious.
#pragma once

#include <condition_variable>
#include <mutex>

#include "levada/time.h"

#ifdef __clang__
#define LEVADA_THREAD_ANNOTATION(x) __attribute__((x))
#else
#define LEVADA_THREAD_ANNOTATION(x)
#endif
#define LEVADA_GUARDED_BY(mutex) LEVADA_THREAD_ANNOTATION(guarded_by(mutex))
#define LEVADA_REQUIRES(mutex) LEVADA_THREAD_ANNOTATION(requires_capability(mutex))
#define LEVADA_EXCLUDES(mutex) LEVADA_THREAD_ANNOTATION(locks_excluded(mutex))

namespace levada {

class LEVADA_THREAD_ANNOTATION(capability("mutex")) Mutex {
 public:
  void lock() LEVADA_THREAD_ANNOTATION(acquire_capability()) { mutex_.lock(); }
  void unlock() LEVADA_THREAD_ANNOTATION(release_capability()) { mutex_.unlock(); }

 private:
  friend class CondVar;
  std::mutex mutex_;
};

/// Holds a mutex for a scope.
class LEVADA_THREAD_ANNOTATION(scoped_lockable) MutexLock {
 public:
  explicit MutexLock(Mutex& mutex) LEVADA_THREAD_ANNOTATION(acquire_capability(mutex))
      : mutex_(mutex) {
    mutex_.lock();
  }
  ~MutexLock() LEVADA_THREAD_ANNOTATION(release_capability()) { mutex_.unlock(); }
  MutexLock(const MutexLock&) = delete;
  MutexLock& operator=(const MutexLock&) = delete;

 private:
  Mutex& mutex_;
};

class CondVar {
 public:
  void notify_one() noexcept { changed_.notify_one(); }
  void notify_all() noexcept { changed_.notify_all(); }

  /// Releases `mutex`, waits for a notification, takes it again.
  void wait(Mutex& mutex) LEVADA_REQUIRES(mutex) {
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    changed_.wait(lock);
    lock.release();
  }

  /// The same until `deadline` (kNever: no deadline); false when it passed without a notification.
  bool wait_until(Mutex& mutex, SteadyTime deadline) LEVADA_REQUIRES(mutex) {
    if (deadline == kNever) {
      wait(mutex);
      return true;
    }
    std::unique_lock<std::mutex> lock(mutex.mutex_, std::adopt_lock);
    const std::cv_status status = changed_.wait_until(lock, deadline);
    lock.release();
    return status == std::cv_status::no_timeout;
  }

 private:
  std::condition_variable changed_;
};

}  // namespace levada
