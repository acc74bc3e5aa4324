// StoredKey<K>: how a table keeps keys. A key that holds nothing outside itself is kept as it is. Any other is
// kept as bytes (the characters of a string, else its encoding) in an arena of its key group: one copy when
// it comes, no allocation, and all of them go at once.
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
    return at;
  }
  /// Forgets all bytes and keeps the chunks.
  void clear() {
    if (!chunks_.empty()) use(0);
  }
  std::size_t capacity() const noexcept { return capacity_; }

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

  const char* data() const {
    const char* data;
    std::memcpy(&data, pointer_, sizeof data);
    return data;
  }
  void point_to(const char* data, std::size_t bytes) {
    std::memcpy(pointer_, &data, sizeof data);
    size_ = static_cast<std::uint32_t>(bytes);
  }
  View view() const { return {data(), size_}; }
  bool operator==(View other) const { return view() == other; }
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
  void prefetch() const { __builtin_prefetch(data()); }

 private:
  // Four-byte alignment: with meta before it and a value of sixteen bytes an entry has 32.
  std::uint32_t size_ = 0;
  char pointer_[sizeof(const char*)] = {};
};

}  // namespace levada::detail
