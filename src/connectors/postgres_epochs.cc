#include "connectors/postgres_epochs.h"

#include <algorithm>
#include <string>
#include <utility>

#include "connectors/postgres_lines.h"
#include "connectors/postgres_marker.h"
#include "levada/assert.h"
#include "levada/error.h"

#include "base/fail_point.h"

namespace levada::postgres {
namespace {

using detail::SinkSettings;

// Up to so many rows of so many bytes go as parameters.
constexpr std::size_t kArrayBytesMax = std::size_t{8} << 20;
constexpr std::size_t kLinesBytes = 64 * 1024;
// For all questions at the start, as at least once.
constexpr Duration kCheckTimeout = 4s;
// Long enough for a transaction that is about to end, short enough for the status to say who holds it.
constexpr Duration kLockTimeout = 10s;
// An instance that is frozen within a transaction lets go of the marker after so long.
constexpr Duration kIdleTimeout = 60s;
constexpr std::uint8_t kRowRecord = 0;

// What the lines mean; a log that was written for other columns is not taken.
std::string schema_of(const CheckedTable& table) {
  static constexpr const char* kModes[] = {"insert", "upsert", "remove"};
  std::string text = kModes[static_cast<std::size_t>(table.target.mode)];
  for (std::size_t i = 0; i < table.target.columns.size(); ++i) {
    const TargetColumn& column = table.target.columns[i];
    text += (i == 0 ? " (" : ", ") + column.quoted;
    if (column.is_key) text += " key";
  }
  return text + ")";
}

class PostgresEncoder final : public EpochEncoder {
 public:
  explicit PostgresEncoder(const CheckedTable& table)
      : lines_(table.shown, table.sources), schema_(schema_of(table)) {}

  std::size_t encode(const Batch& batch, std::size_t first_row, std::size_t bytes_wanted,
                     EpochRecordBuffer& out) override {
    std::size_t row = first_row;
    try {
      for (; row < batch.size() && out.size_bytes() < bytes_wanted; ++row) {
        lines_.append(batch.row(row), out.begin(kRowRecord));
        out.end();
      }
    } catch (...) {
      out.cancel();
      throw;
    }
    return row;
  }
  std::string schema() const override { return schema_; }

 private:
  LineWriter lines_;
  const std::string schema_;
};

// ---- errors

TargetStatus status_of(const ServerError& error) {
  if (error.keeps_connection()) return TargetStatus::kConflict;
  if (error.sqlstate() == "55P03") return TargetStatus::kLocked;
  return error.retryable() ? TargetStatus::kUnavailable : TargetStatus::kRefused;
}

TargetError translated(const ServerError& error) {
  return TargetError(status_of(error), std::string("PostgreSQL: ") + error.what());
}

// ---- the database

class PostgresTransaction final : public MarkerTransaction {
 public:
  PostgresTransaction(Connection& connection, const MarkerTable& markers, const SinkSettings& settings,
                      const Statements& statements, const CheckedTable& table)
      : connection_(connection),
        markers_(markers),
        statements_(statements),
        table_(table),
        transaction_(std::make_unique<Transaction>(
            connection, TransactionLimits{.statement = settings.publish_timeout,
                                          .lock = std::min(kLockTimeout, settings.call_timeout / 2),
                                          .idle = kIdleTimeout})) {}

  std::optional<Claimed> claim(const EpochOwner& self, CheckpointId initial) override {
    return checked([&] { return markers_.claim(*transaction_, self, initial); });
  }
  std::optional<EpochMarker> read(bool lock) override {
    return checked([&] { return markers_.read(*transaction_, lock); });
  }
  void write(EpochRecords& records) override {
    checked([&] {
      const bool few =
          records.count() <= kUnnestRowsMax && records.size_bytes() <= kArrayBytesMax;
      if (few || !statements_.may_copy()) {
        write_arrays(records);
      } else {
        write_lines(records);
      }
    });
  }
  bool advance(const EpochOwner& self, CheckpointId previous, CheckpointId epoch,
               std::uint64_t rows) override {
    return checked([&] { return markers_.advance(*transaction_, self, previous, epoch, rows); });
  }
  void commit() override {
    checked([&] { transaction_->commit(); });
  }

 private:
  template <class F>
  auto checked(F call) -> decltype(call()) {
    try {
      return call();
    } catch (const ServerError& error) {
      if (status_of(error) != TargetStatus::kLocked) throw translated(error);
      const std::string holder = find_holder();
      throw TargetError(TargetStatus::kLocked,
                        "PostgreSQL: " + (holder.empty() ? std::string(error.what()) : holder));
    }
  }

  std::string find_holder() noexcept {
    try {
      transaction_.reset();
      Transaction transaction(connection_);
      return markers_.holder(transaction);
    } catch (...) {
      return {};
    }
  }

  void write_arrays(EpochRecords& records) {
    LineArrays arrays(table_.sources);
    EpochRecord record;
    bool more = true;
    while (more) {
      more = records.next(record);
      if (more) arrays.add(record.body);
      const bool full = arrays.rows() >= kUnnestRowsMax || arrays.bytes() >= kArrayBytesMax;
      if (arrays.rows() > 0 && (full || !more)) {
        statements_.write_arrays(*transaction_, arrays.take());
        LEVADA_FAILPOINT("postgres.rows.sent", kPublish);
      }
    }
  }

  void write_lines(EpochRecords& records) {
    EpochRecord record;
    statements_.write_lines(*transaction_, [&](std::string& lines) {
      lines.clear();
      while (lines.size() < kLinesBytes && records.next(record)) {
        lines.append(record.body);
        lines += '\n';
      }
      LEVADA_FAILPOINT("postgres.lines.sent", kPublish);
      return !lines.empty();
    });
  }

  Connection& connection_;
  const MarkerTable& markers_;
  const Statements& statements_;
  const CheckedTable& table_;
  std::unique_ptr<Transaction> transaction_;
};

class PostgresDatabase final : public MarkerDatabase {
 public:
  PostgresDatabase(std::shared_ptr<EpochTable> shared, const EpochTargetContext& context)
      : shared_(std::move(shared)),
        settings_(shared_->settings()),
        log_(context.log),
        markers_(settings_.marker_schema, context.job, context.sink, context.shard),
        warns_(context.shard == 0) {}

  std::string name() const override {
    return "PostgreSQL table " + (table_ ? table_->shown : settings_.table);
  }
  std::string schema() const override {
    LEVADA_ASSERT(table_.has_value(), "the table is checked before anything is read or written");
    return schema_of(*table_);
  }

  std::unique_ptr<MarkerTransaction> begin() override {
    if (!table_) {
      check();
    } else if (!connection_) {
      reconnect();
    }
    try {
      return std::make_unique<PostgresTransaction>(*connection_, markers_, settings_, *statements_,
                                                   *table_);
    } catch (const ServerError& error) {
      throw translated(error);
    }
  }

  void disconnect() noexcept override { replace(nullptr); }

  void interrupt() noexcept override {
    const MutexLock lock(mutex_);
    if (connection_) connection_->interrupt();
  }

 private:
  // Until the table has been checked once, what cannot be mended by waiting ends the job.
  void check() {
    check_settings(settings_);
    try {
      connect(std::min(settings_.call_timeout, kCheckTimeout));
      if (warns_) warn_of_transport();
      CheckedTable table = check_table(*connection_, settings_);
      markers_.prepare(*connection_);
      connection_->set_call_timeout(settings_.publish_timeout);
      statements_.emplace(table.target);
      shared_->set(table);
      table_ = std::move(table);
    } catch (const ServerError& error) {
      disconnect();
      const std::string what = "PostgreSQL: table " + settings_.table + ": " + error.what();
      if (!error.retryable()) throw ConnectorError(what, false);
      throw TargetError(status_of(error), what);
    } catch (const ConnectorError& error) {
      disconnect();
      if (!error.retryable()) throw;
      throw TargetError(TargetStatus::kUnavailable, error.what());
    }
  }

  // Once the job runs, even a wrong password is waited for: it is being changed perhaps.
  void reconnect() {
    try {
      connect(settings_.publish_timeout);
    } catch (const ConnectorError& error) {
      throw TargetError(TargetStatus::kUnavailable, error.what());
    }
  }

  void connect(Duration call_timeout) {
    const Conninfo conninfo =
        parse_conninfo(settings_.connection, settings_.connect_timeout, settings_.call_timeout);
    replace(std::make_unique<Connection>(conninfo, settings_.connect_timeout, call_timeout, log_));
  }

  // The old one is closed without the lock: that may take a while.
  void replace(std::unique_ptr<Connection> connection) noexcept {
    const MutexLock lock(mutex_);
    connection_.swap(connection);
  }

  void warn_of_transport() {
    warns_ = false;
    const std::string warning = transport_warning(connection_->host(), connection_->sslmode());
    if (!warning.empty() && log_) log_(LogLevel::kWarning, warning);
  }

  const std::shared_ptr<EpochTable> shared_;
  const SinkSettings& settings_;
  const Log log_;
  MarkerTable markers_;
  bool warns_;
  std::optional<CheckedTable> table_;
  std::optional<Statements> statements_;
  Mutex mutex_;  // for interrupt(): only its own thread changes or uses the connection
  std::unique_ptr<Connection> connection_;
};

}  // namespace

void EpochTable::set(CheckedTable table) {
  const MutexLock lock(mutex_);
  table_ = std::move(table);
}

std::optional<CheckedTable> EpochTable::get() const {
  const MutexLock lock(mutex_);
  return table_;
}

std::unique_ptr<EpochEncoder> make_epoch_encoder(std::shared_ptr<EpochTable> table) {
  const std::optional<CheckedTable> checked = table->get();
  LEVADA_ASSERT(checked.has_value(), "rows are encoded after the table was checked");
  return std::make_unique<PostgresEncoder>(*checked);
}

std::unique_ptr<EpochTarget> make_epoch_target(std::shared_ptr<EpochTable> table,
                                               const EpochTargetContext& context) {
  return make_marker_target(std::make_unique<PostgresDatabase>(std::move(table), context));
}

}  // namespace levada::postgres
