#include "levada/detail/streamed_copy.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace levada::detail {
namespace {

constexpr std::size_t kWord = sizeof(std::uint64_t);

#if defined(__SSE2__) && defined(__x86_64__)
void store_word(char* to, std::uint64_t word) {
  _mm_stream_si64(reinterpret_cast<long long*>(to), static_cast<long long>(word));
}
#else
void store_word(char* to, std::uint64_t word) { std::memcpy(to, &word, kWord); }
#endif

void copy_words(char* to, const char* from, std::size_t words) {
  for (std::size_t i = 0; i < words; ++i) {
    std::uint64_t word;
    std::memcpy(&word, from + i * kWord, kWord);
    store_word(to + i * kWord, word);
  }
}

template <std::size_t kWords>
void gather_words(char* to, const char* from, std::span<const std::uint16_t> which) {
  for (const std::uint16_t item : which) {
    copy_words(to, from + item * kWords * kWord, kWords);
    to += kWords * kWord;
  }
}

}  // namespace

void streamed_gather(char* to, const char* from, std::size_t item_bytes,
                     std::span<const std::uint16_t> which) noexcept {
  switch (item_bytes / kWord) {
    case 1:
      gather_words<1>(to, from, which);
      break;
    case 2:
      gather_words<2>(to, from, which);
      break;
    case 3:
      gather_words<3>(to, from, which);
      break;
    case 4:
      gather_words<4>(to, from, which);
      break;
    default:
      for (std::size_t i = 0; i < which.size(); ++i) {
        copy_words(to + i * item_bytes, from + which[i] * item_bytes, item_bytes / kWord);
      }
  }
}

#if defined(__SSE2__)

void end_streaming() noexcept { _mm_sfence(); }

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
}

#else

void end_streaming() noexcept {}

void streamed_copy(char* to, const char* from, std::size_t bytes) noexcept { std::memcpy(to, from, bytes); }

#endif

}  // namespace levada::detail
