// start_thread: threads as the host wants them: named, with its hooks around them, and with all
// signals blocked that are meant for the process, so that the host's handlers run on the host's own
// threads.
//
// Threads:  from any thread.
// Lifetime: the caller joins.
// Failures: std::system_error when the machine has no thread left; what `on_start` throws is thrown
// here,
//           after the thread has ended. What `on_stop` throws is swallowed. `body` must not throw.
#pragma once

#include <functional>
#include <string>
#include <thread>

namespace levada {

/// Runs on_start, body and on_stop (each but the body may be empty) on a new thread named `name`
/// (the system keeps the first 15 characters). Returns once on_start has returned.
std::thread start_thread(const std::string& name, const std::function<void()>& on_start,
                         const std::function<void()>& on_stop, std::function<void()> body);

}  // namespace levada
