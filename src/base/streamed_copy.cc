#include "levada/detail/streamed_copy.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace levada::detail {

#if defined(__SSE2__)

void streamed_copy(char* to, const char* from, std::size_t bytes) noexcept {
  constexpr std::size_t kLine = 64;
  const std::size_t before = std::min(bytes, -reinterpret_cast<std::uintptr_t>(to) % kLine);
  std::memcpy(to, from, before);
  std::size_t at = before;
  for (; bytes - at >= kLine; at += kLine) {
    auto* const line = reinterpret_cast<__m128i*>(to + at);
    const auto* const of = reinterpret_cast<const __m128i*>(from + at);
    const __m128i a = _mm_loadu_si128(of), b = _mm_loadu_si128(of + 1), c = _mm_loadu_si128(of + 2),
                  d = _mm_loadu_si128(of + 3);
    _mm_stream_si128(line, a);
    _mm_stream_si128(line + 1, b);
    _mm_stream_si128(line + 2, c);
    _mm_stream_si128(line + 3, d);
  }
  std::memcpy(to + at, from + at, bytes - at);
  _mm_sfence();  // these stores come before later ones only then: another thread may be told of them
}

#else

void streamed_copy(char* to, const char* from, std::size_t bytes) noexcept { std::memcpy(to, from, bytes); }

#endif

}  // namespace levada::detail
