// The format of a segment, version 1. Numbers are little-endian; string = varint length, bytes.
//
//   segment := head record* footer
//   head    := "LVEPLOG" version:u8 length:u32 body crc32c:u32       of everything before it
//   body    := sink:string subtask:u32 schema:string                 `length` bytes
//   record  := length:u32 crc32c:u32 kind:u8 bytes                   the length is that of kind and bytes,
//                                                                    the checksum that of all but itself
//   footer  := 0xffffffff:u32 epoch:u64 records:u64 hash_high:u64 hash_low:u64 crc32c:u32
//              (XXH3-128 of head and records; the checksum is of everything before it in the footer)
#include "checkpoint/epoch_log.h"

#include <algorithm>
#include <atomic>
#include <new>
#include <utility>

#include "levada/assert.h"
#include "levada/error.h"

#include "base/crc32c.h"
#include "base/fail_point.h"
#include "base/planted_bug.h"

namespace levada {
namespace {

constexpr std::string_view kMagic = "LVEPLOG";
constexpr std::uint8_t kVersion = 1;
constexpr std::size_t kHeadBytes = 12;  // before the body
constexpr std::uint32_t kFooterMark = 0xffffffff;
constexpr std::size_t kFooterBytes = 4 + 4 * 8 + 4;
constexpr std::size_t kCrcBytes = sizeof(std::uint32_t);
constexpr std::size_t kReadBytes = 256 * 1024;
// A head holds a uid and a schema; more is damage.
constexpr std::uint32_t kHeadBodyBytesMax = 1u << 24;

Bytes encode_head(const std::string& sink, std::uint32_t subtask, const std::string& schema) {
  Bytes body;
  put_string(body, sink);
  put_number(body, subtask);
  put_string(body, schema);
  Bytes head(kMagic);
  put_number(head, kVersion);
  put_number(head, static_cast<std::uint32_t>(body.size()));
  head += body;
  put_number(head, crc32c(head));
  return head;
}

Bytes encode_footer(const EpochSegment& segment) {
  Bytes footer;
  put_number(footer, kFooterMark);
  put_number(footer, segment.epoch);
  put_number(footer, segment.records);
  put_number(footer, segment.hash.high);
  put_number(footer, segment.hash.low);
  put_number(footer, crc32c(footer));
  return footer;
}

}  // namespace

std::string segment_file_name(CheckpointId epoch) {
  const std::string digits = std::to_string(epoch);
  return std::string(20 - digits.size(), '0') + digits + ".log";
}

// ---- EpochLogWriter

// Why a writer's segments cannot be written: the first failure of any of them.
struct EpochLogWriter::Trouble {
  std::string failure;  // set before `failed`, on the background queue
  std::atomic<bool> failed{false};
};

// The segment under way, as the background queue sees it; dies with the last job that needs it.
struct EpochLogWriter::Writing {
  Writing(const Parts& parts, const std::string& name, std::shared_ptr<Trouble> shared_trouble)
      : trouble(std::move(shared_trouble)),
        files(*parts.files),
        directory(parts.directory),
        temporary(join_path(directory, name)),
        head(encode_head(parts.sink, parts.subtask, parts.schema)),
        on_failure(parts.failed) {}

  const std::shared_ptr<Trouble> trouble;
  FileSystem& files;
  const std::string directory;
  const std::string temporary;
  const Bytes head;
  const std::function<void(const std::string&)> on_failure;
  std::atomic<bool> abandoned{false};

  std::unique_ptr<WritableFile> file;
  bool created = false;
  bool named = false;
  std::uint64_t bytes = 0;
  ContentHasher hasher;

  bool wanted() const {
    return !trouble->failed.load(std::memory_order_acquire) && !abandoned.load(std::memory_order_acquire);
  }

  template <class F>
  void run(F f) {
    if (!wanted()) return;
    const PhaseScope phase(Phase::kLog);
    try {
      f();
    } catch (const std::exception& error) {
      trouble->failure = error.what();
      trouble->failed.store(true, std::memory_order_release);
      on_failure(trouble->failure);
    }
  }

  void append(std::string_view chunk) {
    if (!created) {
      files.create_directories(directory);
      file = files.create(temporary);
      created = true;
      LEVADA_FAILPOINT("log.created", kLog);
      put(head);
    }
    put(chunk);
    LEVADA_FAILPOINT("log.appended", kLog);
  }

  void put(std::string_view part) {
    file->append(part);
    hasher.add(part);
    bytes += part.size();
  }

  EpochSegment finish(EpochSegment segment) {
    segment.hash = hasher.hash();
    const Bytes footer = encode_footer(segment);
    segment.bytes = bytes + footer.size();
    file->append(footer);
    LEVADA_FAILPOINT("log.footer.written", kLog);
    file->sync();
    LEVADA_FAILPOINT("log.synced", kLog);
    file->close();
    files.rename(temporary, join_path(directory, segment_file_name(segment.epoch)));
    named = true;
    LEVADA_FAILPOINT("log.renamed", kLog);
    files.sync_directory(directory);
    LEVADA_FAILPOINT("log.sealed", kLog);
    return segment;
  }

  void remove() {
    if (!created || named) return;
    try {
      file.reset();
      files.remove(temporary);
    } catch (...) {
      // The sweep of the next start finds it.
    }
  }
};

EpochLogWriter::EpochLogWriter(Parts parts)
    : parts_(std::move(parts)), trouble_(std::make_shared<Trouble>()) {}

EpochLogWriter::~EpochLogWriter() {
  if (!writing_) return;
  writing_->abandoned.store(true, std::memory_order_release);
  try {
    parts_.background->submit([writing = writing_] { writing->remove(); });
  } catch (const std::bad_alloc&) {
    // The sweep of the next start finds it.
  }
}

bool EpochLogWriter::has_room() const noexcept {
  return parts_.memory->used_bytes() < parts_.memory->limit_bytes();
}

void EpochLogWriter::check() const {
  if (!trouble_->failed.load(std::memory_order_acquire)) return;
  throw StateError("the epoch log of sink '" + parts_.sink + "' cannot be written: " +
                   trouble_->failure);
}

void EpochLogWriter::written() {
  check();
  parts_.appended(buffer_.size_bytes() - counted_);
  counted_ = buffer_.size_bytes();
  if (counted_ >= kWriteBytes) hand_over();
}

void EpochLogWriter::hand_over() {
  if (buffer_.size_bytes() == 0) return;
  if (!writing_) {
    const std::string name = parts_.temporary_name + "-" + std::to_string(next_number_++);
    writing_ = std::make_shared<Writing>(parts_, name, trouble_);
  }
  records_ += buffer_.records();
  // std::function wants copies to be possible; the bytes themselves are moved.
  const auto chunk = std::make_shared<Bytes>(buffer_.take());
  const std::size_t bytes = chunk->size();
  parts_.memory->acquire(bytes);
  parts_.appended(bytes - counted_);
  counted_ = 0;
  parts_.background->submit([writing = writing_, chunk, bytes, memory = parts_.memory] {
    writing->run([&] { writing->append(*chunk); });
    memory->release(bytes);
  });
}

void EpochLogWriter::seal(CheckpointId checkpoint) {
  check();
  hand_over();
  if (!writing_) return;
  const EpochSegment segment{
      .subtask = parts_.subtask, .epoch = checkpoint, .bytes = 0, .records = records_, .hash = {}};
  parts_.background->submit([writing = writing_, segment, sealed = parts_.sealed] {
    writing->run([&] { sealed(writing->finish(segment)); });
    writing->remove();
  });
  writing_.reset();
  records_ = 0;
}

// ---- EpochSegmentReader

EpochSegmentReader::EpochSegmentReader(FileSystem& files, std::string path, std::string_view sink,
                                       const EpochSegment& expected)
    : path_(std::move(path)), expected_(expected), file_(files.open(path_)) {
  if (file_->size() != expected_.bytes && !LEVADA_PLANTED("log.torn_tail_accepted")) {
    throw_damaged("it has " + std::to_string(file_->size()) + " bytes, not " +
                  std::to_string(expected_.bytes));
  }
  read_head(sink);
}

void EpochSegmentReader::throw_damaged(std::string_view what) const {
  throw StateError("'" + path_ + "' is damaged: " + std::string(what));
}

// Has `wanted` bytes in the buffer, if the file has.
bool EpochSegmentReader::fill(std::size_t wanted) {
  const std::size_t have = buffer_.size() - at_;
  if (have >= wanted) return true;
  const std::uint64_t left = file_->size() - read_bytes_;
  if (wanted - have > left) return false;
  const auto more = static_cast<std::size_t>(
      std::min<std::uint64_t>(left, std::max(wanted - have, kReadBytes)));
  Bytes part;
  file_->read(read_bytes_, more, part);
  read_bytes_ += more;
  buffer_.erase(0, at_);
  buffer_ += part;
  at_ = 0;
  return true;
}

void EpochSegmentReader::need(std::size_t wanted) {
  if (!fill(wanted)) throw_damaged("it ends too early");
}

void EpochSegmentReader::read_head(std::string_view sink) {
  need(kHeadBytes);
  View head(std::string_view(buffer_).substr(at_, kHeadBytes));
  if (head.take(kMagic.size()) != kMagic) throw_damaged("it is not a segment of an epoch log");
  const auto version = head.take_number<std::uint8_t>();
  if (version != kVersion) {
    throw_damaged("its format version " + std::to_string(version) + " is unknown");
  }
  const auto length = head.take_number<std::uint32_t>();
  if (length > kHeadBodyBytesMax) throw_damaged("its head is too long");
  const std::size_t size = kHeadBytes + length;
  need(size + kCrcBytes);
  const std::string_view whole = std::string_view(buffer_).substr(at_, size + kCrcBytes);
  if (View(whole.substr(size)).take_number<std::uint32_t>() != crc32c(whole.substr(0, size))) {
    throw_damaged("the checksum of its head differs");
  }
  try {
    View body(whole.substr(kHeadBytes, length));
    const std::string_view written_by = body.take_string();
    const auto subtask = body.take_number<std::uint32_t>();
    schema_ = body.take_string();
    if (written_by != sink || subtask != expected_.subtask || !body.empty()) {
      throw_damaged("it belongs to subtask " + std::to_string(subtask) + " of sink '" +
                    std::string(written_by) + "'");
    }
  } catch (const StateError& error) {
    throw_damaged(error.what());
  }
  hasher_.add(whole);
  at_ += whole.size();
}

bool EpochSegmentReader::next(EpochRecord& record) {
  if (ended_) return false;
  const bool torn_is_fine = LEVADA_PLANTED("log.torn_tail_accepted");
  if (torn_is_fine && !fill(kFooterBytes)) return false;
  need(sizeof(std::uint32_t));
  const auto length =
      View(std::string_view(buffer_).substr(at_)).take_number<std::uint32_t>();
  if (length == kFooterMark) {
    check_footer();
    return false;
  }
  if (length == 0 || length > EpochRecordBuffer::kRecordBytesMax) {
    throw_damaged("record " + std::to_string(records_) + " has an impossible length");
  }
  const std::size_t frame = 2 * sizeof(std::uint32_t);
  if (torn_is_fine && !fill(frame + length)) return false;
  need(frame + length);
  const std::string_view whole = std::string_view(buffer_).substr(at_, frame + length);
  const auto expected = View(whole.substr(sizeof length)).take_number<std::uint32_t>();
  const std::uint32_t crc =
      crc32c(whole.substr(frame), crc32c(whole.substr(0, sizeof length)));
  if (crc != expected && !LEVADA_PLANTED("log.checksum_ignored")) {
    throw_damaged("the checksum of record " + std::to_string(records_) + " differs");
  }
  record.kind = static_cast<std::uint8_t>(whole[frame]);
  record.body = whole.substr(frame + 1);
  hasher_.add(whole);
  at_ += whole.size();
  ++records_;
  return true;
}

void EpochSegmentReader::check_footer() {
  need(kFooterBytes);
  const std::string_view footer = std::string_view(buffer_).substr(at_, kFooterBytes);
  at_ += kFooterBytes;
  ended_ = true;
  if (LEVADA_PLANTED("log.checksum_ignored")) return;
  if (fill(1)) throw_damaged("bytes follow its end");
  if (records_ != expected_.records) {
    throw_damaged("it has " + std::to_string(records_) + " records, not " +
                  std::to_string(expected_.records));
  }
  if (hasher_.hash() != expected_.hash) throw_damaged("its hash differs");
  EpochSegment written = expected_;
  if (footer != encode_footer(written)) throw_damaged("its footer differs");
}

// ---- EpochLogRecords

EpochLogRecords::EpochLogRecords(FileSystem& files, std::string sink, std::string schema,
                                 std::vector<Part> parts)
    : files_(files),
      sink_(std::move(sink)),
      schema_(std::move(schema)),
      parts_(std::move(parts)) {
  for (const Part& part : parts_) {
    count_ += part.segment.records;
    bytes_ += part.segment.bytes;
  }
}

bool EpochLogRecords::next(EpochRecord& record) {
  for (;;) {
    if (!reader_) {
      if (at_ == parts_.size()) return false;
      open_next();
    }
    if (reader_->next(record)) {
      record.epoch = parts_[at_ - 1].epoch;
      return true;
    }
    reader_.reset();
  }
}

void EpochLogRecords::open_next() {
  const Part& part = parts_[at_++];
  LEVADA_FAILPOINT("publish.segment.opened", kPublish);
  reader_ = std::make_unique<EpochSegmentReader>(files_, part.path, sink_, part.segment);
  if (reader_->schema() == schema_) return;
  throw ConnectorError("'" + part.path + "' has rows of the form " + reader_->schema() +
                           ", but the sink's are now " + schema_ +
                           "; run the program that wrote them until it has published them, or start a new "
                           "sink generation",
                       false);
}

}  // namespace levada
