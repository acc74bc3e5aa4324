// How blocks of state files are compressed, each on its own.
//
// Threads:  a compressor of one thread at a time; decompress() from any.
// Failures: decompress() throws StateError for bytes that were not compressed so, or to another length. Its
//           input may be anything: never more is allocated than twice what the bytes truly expand to, and a
//           constant.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "levada/bytes.h"
#include "levada/options.h"

namespace levada {

class BlockCompressor {
 public:
  explicit BlockCompressor(Compression how);
  ~BlockCompressor();
  BlockCompressor(const BlockCompressor&) = delete;
  BlockCompressor& operator=(const BlockCompressor&) = delete;

  Compression how() const noexcept { return how_; }
  /// The compressed bytes, valid until the next call; null when they would not be fewer.
  const Bytes* compress(std::string_view bytes);

 private:
  struct Zstd;
  std::size_t compress_into_out(std::string_view bytes);

  const Compression how_;
  std::unique_ptr<Zstd> zstd_;
  Bytes out_;
};

/// Replaces `into` by the `length` bytes that `stored` was made of. REQUIRES: `how` is not kNone.
void decompress(Compression how, std::string_view stored, std::uint64_t length, Bytes& into);

}  // namespace levada
