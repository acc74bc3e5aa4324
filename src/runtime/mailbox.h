// Mailbox: how other threads reach a task. Served between any two steps, also while the task waits.
//
// Threads: post() from any thread; take() from the owner. The owner's check for mail is one load.
#pragma once

#include <atomic>
#include <utility>
#include <vector>

#include "base/mutex.h"

namespace levada {

template <class Mail>
class Mailbox {
 public:
  /// Throws std::bad_alloc, and then nothing was posted.
  void post(Mail mail) {
    MutexLock lock(mutex_);
    mail_.push_back(std::move(mail));
    has_mail_.store(true, std::memory_order_release);
  }

  bool has_mail() const noexcept { return has_mail_.load(std::memory_order_acquire); }

  /// All mail so far, oldest first.
  std::vector<Mail> take() {
    MutexLock lock(mutex_);
    has_mail_.store(false, std::memory_order_relaxed);
    return std::exchange(mail_, {});
  }

 private:
  Mutex mutex_;
  std::vector<Mail> mail_ LEVADA_GUARDED_BY(mutex_);
  std::atomic<bool> has_mail_{false};
};

}  // namespace levada
