#include "checkpoint/block_compression.h"

#include <algorithm>
#include <new>

#include <lz4.h>
#include <zstd.h>

#include "levada/assert.h"
#include "levada/error.h"

namespace levada {
namespace {

constexpr int kZstdLevel = 1;
// What a frame may ask the decoder to remember: 8 MiB, more than this level ever does.
constexpr int kZstdWindowLogMax = 23;
constexpr std::uint64_t kZstdStep = 128 * 1024;
// A byte of LZ4 stands for at most 255.
constexpr std::uint64_t kLz4Expansion = 255;

[[noreturn]] void throw_damaged() { throw StateError("a compressed block does not decompress"); }

void decompress_lz4(std::string_view stored, std::uint64_t length, Bytes& into) {
  if (stored.size() > LZ4_MAX_INPUT_SIZE || length > LZ4_MAX_INPUT_SIZE ||
      length > stored.size() * kLz4Expansion) {
    throw_damaged();
  }
  into.resize(length);
  const int got = LZ4_decompress_safe(stored.data(), into.data(), static_cast<int>(stored.size()),
                                      static_cast<int>(length));
  if (got < 0 || static_cast<std::uint64_t>(got) != length) throw_damaged();
}

// The buffer grows with what has truly come out, so a length that lies costs nothing.
void decompress_zstd(std::string_view stored, std::uint64_t length, Bytes& into) {
  const std::unique_ptr<ZSTD_DCtx, std::size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(),
                                                                        &ZSTD_freeDCtx);
  if (context == nullptr) throw std::bad_alloc();
  ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, kZstdWindowLogMax);
  into.clear();
  ZSTD_inBuffer in{stored.data(), stored.size(), 0};
  std::size_t done = 0;
  for (std::size_t left = 1; left != 0;) {
    if (done == into.size()) {
      into.resize(std::min<std::uint64_t>(length, done + std::max<std::uint64_t>(done, kZstdStep)));
    }
    ZSTD_outBuffer out{into.data(), into.size(), done};
    const std::size_t taken = in.pos;
    left = ZSTD_decompressStream(context.get(), &out, &in);
    if (ZSTD_isError(left) || (left != 0 && out.pos == done && in.pos == taken)) throw_damaged();
    done = out.pos;
  }
  if (done != length || in.pos != in.size) throw_damaged();
  into.resize(done);
}

}  // namespace

struct BlockCompressor::Zstd {
  Zstd() : context(ZSTD_createCCtx()) {
    if (context == nullptr) throw std::bad_alloc();
  }
  ~Zstd() { ZSTD_freeCCtx(context); }
  Zstd(const Zstd&) = delete;
  Zstd& operator=(const Zstd&) = delete;

  ZSTD_CCtx* context;
};

BlockCompressor::BlockCompressor(Compression how) : how_(how) {
  if (how_ == Compression::kZstd) zstd_ = std::make_unique<Zstd>();
}

BlockCompressor::~BlockCompressor() = default;

const Bytes* BlockCompressor::compress(std::string_view bytes) {
  if (how_ == Compression::kNone || bytes.size() < 2) return nullptr;
  if (how_ == Compression::kLz4 && bytes.size() > LZ4_MAX_INPUT_SIZE) return nullptr;
  out_.resize(bytes.size() - 1);  // what needs more room is not worth it
  const std::size_t size = compress_into_out(bytes);
  if (size == 0) return nullptr;
  out_.resize(size);
  return &out_;
}

// 0: it does not fit.
std::size_t BlockCompressor::compress_into_out(std::string_view bytes) {
  if (how_ == Compression::kLz4) {
    return static_cast<std::size_t>(LZ4_compress_default(bytes.data(), out_.data(),
                                                         static_cast<int>(bytes.size()),
                                                         static_cast<int>(out_.size())));
  }
  const std::size_t size = ZSTD_compressCCtx(zstd_->context, out_.data(), out_.size(), bytes.data(),
                                             bytes.size(), kZstdLevel);
  return ZSTD_isError(size) ? 0 : size;
}

void decompress(Compression how, std::string_view stored, std::uint64_t length, Bytes& into) {
  LEVADA_ASSERT(how != Compression::kNone, "what is not compressed is not decompressed");
  if (how == Compression::kLz4) {
    decompress_lz4(stored, length, into);
  } else {
    decompress_zstd(stored, length, into);
  }
}

}  // namespace levada
