// LEVADA_ASSERT: the check of an invariant that only a bug of ours can break. Always on: it hands the
// expression, the message and the running node to the job's log sink, then aborts. Never used for bad
// input, failing servers or user code: those are exceptions (error.h).
#pragma once

#include <string>
#include <string_view>

namespace levada::detail {

/// Logs the broken invariant through the thread's current log sink and aborts.
[[noreturn]] void assert_failed(const char* expression, const char* file, int line,
                                std::string_view message);

}  // namespace levada::detail

/// Aborts with `message` (a sentence, with the values at its end) unless `expression` holds.
#define LEVADA_ASSERT(expression, message)                                            \
  (__builtin_expect(static_cast<bool>(expression), 1)                                 \
       ? static_cast<void>(0)                                                         \
       : ::levada::detail::assert_failed(#expression, __FILE__, __LINE__, (message)))

/// For loops over rows: on in builds with LEVADA_DEBUG_ASSERTS, absent elsewhere.
#ifdef LEVADA_DEBUG_ASSERTS
#define LEVADA_DEBUG_ASSERT(expression, message) LEVADA_ASSERT(expression, message)
#else
#define LEVADA_DEBUG_ASSERT(expression, message) static_cast<void>(0)
#endif
