// The protocol of targets that keep the marker as a row beside the data. Locking that row first is what
// makes it right: whoever may still commit holds the lock, so to wait for it is to know how he ended.
#include <utility>

#include "levada/epoch_target.h"

#include "base/fail_point.h"
#include "base/planted_bug.h"

namespace levada {
namespace {

TargetAnswer answer_of(TargetStatus status, std::string reason = {}) {
  return {.status = status, .reason = std::move(reason), .marker = {}, .created = false};
}

std::string shown(const EpochMarker& marker) {
  return "the marker is at epoch " + std::to_string(marker.epoch) + " of incarnation " +
         std::to_string(marker.owner.incarnation);
}

class MarkerTarget final : public EpochTarget {
 public:
  explicit MarkerTarget(std::unique_ptr<MarkerDatabase> database)
      : database_(std::move(database)) {}

  std::string name() const override { return database_->name(); }
  std::string schema() const override { return database_->schema(); }

  TargetAnswer fence(const FenceRequest& request) override {
    try {
      return claim(request);
    } catch (const TargetError& error) {
      return answer_of(error.status(), error.what());
    }
  }

  TargetAnswer publish(const PublishRequest& request) override {
    try {
      return write(request);
    } catch (const TargetError& error) {
      return answer_of(error.status(), error.what());
    }
  }

  void disconnect() noexcept override { database_->disconnect(); }
  void interrupt() noexcept override { database_->interrupt(); }

 private:
  TargetAnswer claim(const FenceRequest& request) {
    const auto transaction = database_->begin();
    if (LEVADA_PLANTED("target.marker_read_plainly")) {
      const auto plain = transaction->read(false);
      if (plain && plain->owner == request.self) {
        blind_ = true;  // it is believed, as if nobody else could be at work
        return {.status = TargetStatus::kDone, .reason = {}, .marker = *plain, .created = false};
      }
    }
    auto claimed = transaction->claim(request.self, request.initial);
    LEVADA_FAILPOINT("target.fence.claimed", kRestore);
    if (!claimed) {
      TargetAnswer answer = answer_of(TargetStatus::kFenced, "a later start of the job has taken it over");
      if (const auto marker = transaction->read(false)) answer.marker = *marker;
      return answer;
    }
    if (claimed->created && !request.may_create) {
      return answer_of(TargetStatus::kMissing, "there is no marker");
    }
    transaction->commit();
    if (LEVADA_PLANTED("target.marker_ignored")) claimed->marker.epoch = request.initial;
    LEVADA_FAILPOINT("target.fence.committed", kRestore);
    return {.status = TargetStatus::kDone,
            .reason = {},
            .marker = claimed->marker,
            .created = claimed->created};
  }

  TargetAnswer write(const PublishRequest& request) {
    auto transaction = database_->begin();
    LEVADA_FAILPOINT("target.publish.begun", kPublish);
    const bool unlocked = LEVADA_PLANTED("target.marker_not_locked");
    const auto marker = transaction->read(!unlocked);
    LEVADA_FAILPOINT("target.publish.locked", kPublish);
    if (!marker) return answer_of(TargetStatus::kMissing, "there is no marker");
    EpochOwner self = request.self;
    if (LEVADA_PLANTED("target.incarnation_not_checked")) self = marker->owner;
    TargetAnswer answer{
        .status = TargetStatus::kDone, .reason = shown(*marker), .marker = *marker, .created = false};
    if (marker->owner != self) {
      answer.status = TargetStatus::kFenced;
    } else if (marker->epoch >= request.epoch) {
      answer.status = TargetStatus::kAlreadyThere;
    } else if (marker->epoch != request.previous) {
      answer.status = TargetStatus::kGap;
    }
    const bool blind = blind_ || LEVADA_PLANTED("target.marker_ignored");
    if (answer.status != TargetStatus::kDone && !blind) return answer;
    transaction->write(*request.records);
    LEVADA_FAILPOINT("target.publish.written", kPublish);
    if (LEVADA_PLANTED("target.marker_apart")) {
      transaction->commit();
      transaction.reset();
      transaction = database_->begin();
    }
    if (!transaction->advance(self, request.previous, request.epoch, request.records->count()) &&
        !unlocked && !blind) {
      return answer_of(TargetStatus::kFenced, "the marker changed although it was locked");
    }
    LEVADA_FAILPOINT("target.publish.marked", kPublish);
    answer = commit(*transaction);
    blind_ = answer.status == TargetStatus::kUnknown && LEVADA_PLANTED("publisher.unknown_is_failed");
    answer.marker = {request.epoch, self};
    return answer;
  }

  // An answer of the server is one: it has rolled back. No answer is none.
  static TargetAnswer commit(MarkerTransaction& transaction) {
    try {
      transaction.commit();
    } catch (const TargetError& error) {
      const bool silent = error.status() == TargetStatus::kUnavailable;
      return answer_of(silent ? TargetStatus::kUnknown : error.status(), error.what());
    }
    LEVADA_FAILPOINT("target.publish.committed", kPublish);
    return answer_of(TargetStatus::kDone);
  }

  const std::unique_ptr<MarkerDatabase> database_;
  bool blind_ = false;  // only ever by a planted bug
};

}  // namespace

std::unique_ptr<EpochTarget> make_marker_target(std::unique_ptr<MarkerDatabase> database) {
  return std::make_unique<MarkerTarget>(std::move(database));
}

}  // namespace levada
