// StoredKey<K>: how a table keeps keys. A key that holds nothing outside itself is kept as it is. Any other is
// kept as bytes (the characters of a string, else its encoding): up to 16 in the entry, where they cost no
// further cache miss, more in an arena of the key group: one copy when it comes, no allocation. What single
// keys leave behind goes when the arena is written anew, the rest at once.
//
// Threads: of the table's task.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "levada/bytes.h"
#include "levada/serde.h"

namespace levada::detail {

/// Bytes that stay where they are until all go.
class KeyArena {
 public:
  bool has_room(std::size_t bytes) const { return bytes <= room_; }
  /// The size that a chunk should have which `bytes` more go into.
  std::size_t next_chunk(std::size_t bytes) const {
    return std::max(bytes, std::clamp(capacity_, kChunkMin, kChunkMax));
  }
  /// Makes room: goes on in the next chunk, which is there or is made with `bytes`.
  void add_chunk(std::size_t bytes) {
    chunks_.push_back({std::make_unique_for_overwrite<char[]>(bytes), bytes});
    capacity_ += bytes;
    use(chunks_.size() - 1);
  }
  /// Goes on in a chunk that is there. False when none is left that `bytes` fit into.
  bool reuse_chunk(std::size_t bytes) {
    while (!has_room(bytes)) {
      if (chunks_.empty() || current_ + 1 == chunks_.size()) return false;
      use(current_ + 1);
    }
    return true;
  }
  /// REQUIRES: has_room().
  const char* append(std::string_view bytes) {
    char* at = end_;
    std::memcpy(at, bytes.data(), bytes.size());
    end_ += bytes.size();
    room_ -= bytes.size();
    live_ += bytes.size();
    return at;
  }
  /// Bytes that were appended are not wanted any more; they stay where they are.
  void forget(std::size_t bytes) {
    live_ -= bytes;
    dead_ += bytes;
  }
  /// Forgets all bytes and keeps the chunks.
  void clear() {
    if (!chunks_.empty()) use(0);
    live_ = dead_ = 0;
  }
  std::size_t capacity() const noexcept { return capacity_; }
  std::size_t live_bytes() const noexcept { return live_; }
  std::size_t dead_bytes() const noexcept { return dead_; }

 private:
  static constexpr std::size_t kChunkMin = 128;
  static constexpr std::size_t kChunkMax = 64 * 1024;

  struct Chunk {
    std::unique_ptr<char[]> bytes;
    std::size_t size;
  };

  void use(std::size_t chunk) {
    current_ = chunk;
    end_ = chunks_[chunk].bytes.get();
    room_ = chunks_[chunk].size;
  }

  char* end_ = nullptr;
  std::size_t room_ = 0;
  std::size_t current_ = 0;
  std::size_t capacity_ = 0;
  std::size_t live_ = 0, dead_ = 0;
  std::vector<Chunk> chunks_;
};

template <class K>
struct StoredKey {
  static constexpr bool kInArena = false;
  using View = const K&;
  struct Arena {};

  /// What is looked for; `scratch` may hold it until the next call.
  static View view(const K& key, Bytes&) { return key; }

  View view() const { return key; }
  bool operator==(View other) const { return key == other; }
  /// The key itself; `scratch` may hold it until the next call.
  const K& load(K&) const { return key; }
  void copy_to(K& into) const { into = key; }
  std::uint64_t hash() const { return hash_of(key); }
  void write(Bytes& out) const { Serde<K>::write(key, out); }
  void prefetch() const {}

  K key{};
};

template <class K>
  requires(!kFlat<K>)
struct StoredKey<K> {
  static constexpr bool kInArena = true;
  static constexpr bool kText = std::is_same_v<K, std::string>;
  using View = std::string_view;
  using Arena = std::unique_ptr<KeyArena>;

  static View view(const K& key, Bytes& scratch) {
    if constexpr (kText) {
      return key;
    } else {
      scratch.clear();
      Serde<K>::write(key, scratch);
      return scratch;
    }
  }

  static bool is_short(std::size_t bytes) { return bytes <= sizeof bytes_; }
  const char* data() const {
    if (is_short(size_)) return bytes_;
    const char* data;
    std::memcpy(&data, bytes_, sizeof data);
    return data;
  }
  /// Keeps a short one. It may be this key's own.
  void keep(std::string_view key) {
    std::memmove(bytes_, key.data(), std::min(key.size(), sizeof bytes_));  // the least, for compilers
    size_ = static_cast<std::uint32_t>(key.size());
  }
  /// Keeps where a longer one is.
  void point_to(const char* data, std::size_t bytes) {
    std::memcpy(bytes_, &data, sizeof data);
    size_ = static_cast<std::uint32_t>(bytes);
  }
  View view() const { return {data(), size_}; }
  bool operator==(View other) const {
    if (other.size() != size_) return false;
    return is_short(size_) ? equal_short(bytes_, other.data(), size_) : view() == other;
  }
  const K& load(K& scratch) const {
    if constexpr (kText) {
      scratch.assign(view());
    } else {
      View bytes = view();
      levada::View in(bytes);
      Serde<K>::read(in, scratch);
    }
    return scratch;
  }
  void copy_to(K& into) const { load(into); }
  std::uint64_t hash() const {
    if constexpr (kText) {
      return hash_bytes(data(), size_);
    } else {
      K key{};
      return hash_of(load(key));
    }
  }
  void write(Bytes& out) const {
    if constexpr (kText) {
      put_string(out, view());
    } else {
      out += view();
    }
  }
  void prefetch() const {
    if (!is_short(size_)) __builtin_prefetch(data());
  }

 private:
  // Up to 16 bytes, in two pieces that may overlap: no call, and no loop.
  static bool equal_short(const char* a, const char* b, std::size_t size) {
    if (size >= 8) return equal_ends<std::uint64_t>(a, b, size);
    if (size >= 4) return equal_ends<std::uint32_t>(a, b, size);
    if (size >= 2) return equal_ends<std::uint16_t>(a, b, size);
    return size == 0 || *a == *b;
  }
  template <class Word>
  static bool equal_ends(const char* a, const char* b, std::size_t size) {
    const std::size_t last = size - sizeof(Word);
    return ((load_word<Word>(a) ^ load_word<Word>(b)) |
            (load_word<Word>(a + last) ^ load_word<Word>(b + last))) == 0;
  }
  template <class Word>
  static Word load_word(const char* at) {
    Word word;
    std::memcpy(&word, at, sizeof word);
    return word;
  }

  // Four-byte alignment: it stands right behind meta.
  std::uint32_t size_ = 0;
  char bytes_[16] = {};  // the key, or a pointer to it
};

}  // namespace levada::detail
