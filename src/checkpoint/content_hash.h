// ContentHash: what tells the content of a file from every other. ContentHasher: makes one of parts.
//
// Threads: plain values; a hasher of one thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

namespace levada {

/// XXH3 of 128 bits.
struct ContentHash {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  bool operator==(const ContentHash&) const = default;
};

class ContentHasher {
 public:
  ContentHasher();
  ~ContentHasher();
  ContentHasher(const ContentHasher&) = delete;
  ContentHasher& operator=(const ContentHasher&) = delete;

  void add(std::string_view bytes);
  /// Of everything added so far.
  ContentHash hash() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace levada
