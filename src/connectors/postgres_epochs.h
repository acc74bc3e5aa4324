// The exactly-once face of the PostgreSQL sinks: the encoder, which turns rows into COPY lines, and the
// target, which writes an epoch's lines and moves the marker in one transaction.
//
// Threads:  EpochTable from any; encoders and targets as their contracts say.
// Failures: as epoch_target.h. SQLSTATEs: class 40 is a conflict, 55P03 a lock, what is_retryable() and a
//           lost connection are unavailable, everything else is refused.
#pragma once

#include <memory>
#include <optional>

#include "base/mutex.h"
#include "connectors/postgres_table.h"
#include "levada/connectors/postgres.h"
#include "levada/epoch_target.h"

namespace levada::postgres {

/// The table as the target found it, for the encoders.
class EpochTable {
 public:
  explicit EpochTable(std::shared_ptr<const detail::SinkSettings> settings)
      : settings_(std::move(settings)) {}

  const detail::SinkSettings& settings() const noexcept { return *settings_; }
  void set(CheckedTable table);
  /// Empty until a target has checked the table.
  std::optional<CheckedTable> get() const;

 private:
  const std::shared_ptr<const detail::SinkSettings> settings_;
  mutable Mutex mutex_;
  std::optional<CheckedTable> table_ LEVADA_GUARDED_BY(mutex_);
};

std::unique_ptr<EpochEncoder> make_epoch_encoder(std::shared_ptr<EpochTable> table);
std::unique_ptr<EpochTarget> make_epoch_target(std::shared_ptr<EpochTable> table,
                                               const EpochTargetContext& context);

}  // namespace levada::postgres
