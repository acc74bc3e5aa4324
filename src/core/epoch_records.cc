#include <cstring>
#include <utility>

#include "levada/assert.h"
#include "levada/epoch_target.h"
#include "levada/error.h"
#include "levada/sink.h"

#include "base/crc32c.h"

namespace levada {

// The frame of a record is the log's: length:u32 crc32c:u32 kind:u8 body, where the length is that of kind
// and body, and the checksum that of everything else.
Bytes& EpochRecordBuffer::begin(std::uint8_t kind) {
  LEVADA_DEBUG_ASSERT(begun_at_ == kNone, "a record is ended before the next one begins");
  begun_at_ = bytes_.size();
  bytes_.append(2 * sizeof(std::uint32_t), '\0');
  bytes_ += static_cast<char>(kind);
  return bytes_;
}

void EpochRecordBuffer::end() {
  LEVADA_DEBUG_ASSERT(begun_at_ != kNone, "a record is begun before it is ended");
  const std::size_t length = bytes_.size() - begun_at_ - 2 * sizeof(std::uint32_t);
  if (length > kRecordBytesMax) {
    cancel();
    throw ConnectorError("a row has " + std::to_string(length) + " bytes; a record holds at most " +
                             std::to_string(kRecordBytesMax),
                         false);
  }
  char* const frame = bytes_.data() + begun_at_;
  const auto length32 = static_cast<std::uint32_t>(length);
  std::memcpy(frame, &length32, sizeof length32);
  std::uint32_t crc = crc32c({frame, sizeof length32});
  crc = crc32c({frame + 2 * sizeof length32, length}, crc);
  std::memcpy(frame + sizeof length32, &crc, sizeof crc);
  begun_at_ = kNone;
  ++records_;
}

void EpochRecordBuffer::cancel() noexcept {
  if (begun_at_ == kNone) return;
  bytes_.resize(begun_at_);
  begun_at_ = kNone;
}

Bytes EpochRecordBuffer::take() {
  LEVADA_ASSERT(begun_at_ == kNone, "only whole records leave the buffer");
  records_ = 0;
  return std::exchange(bytes_, {});
}

std::string_view to_string(TargetStatus status) {
  switch (status) {
    case TargetStatus::kDone: return "done";
    case TargetStatus::kAlreadyThere: return "already there";
    case TargetStatus::kGap: return "gap";
    case TargetStatus::kMissing: return "missing";
    case TargetStatus::kFenced: return "fenced";
    case TargetStatus::kUnknown: return "unknown";
    case TargetStatus::kConflict: return "conflict";
    case TargetStatus::kLocked: return "locked";
    case TargetStatus::kUnavailable: return "unavailable";
    case TargetStatus::kRefused: return "refused";
  }
  return "?";
}

Guarantee guarantee_of(const SinkFactory& sink, bool checkpoints) {
  if (const Guarantee* wanted = sink.wanted_guarantee()) return *wanted;
  return checkpoints ? sink.best_guarantee() : Guarantee::kAtLeastOnce;
}

}  // namespace levada
