// The at-least-once writer: collects rows and sends them, one transaction a batch. A batch stays in the
// buffer until its commit has returned, so a lost connection costs time and no row. And the factory of both
// faces.
#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "base/fail_point.h"
#include "connectors/postgres_connection.h"
#include "connectors/postgres_conninfo.h"
#include "connectors/postgres_epochs.h"
#include "connectors/postgres_rows.h"
#include "connectors/postgres_statements.h"
#include "connectors/postgres_table.h"
#include "levada/connectors/postgres.h"
#include "levada/error.h"

namespace levada::postgres {
namespace {

using detail::SinkSettings;

// A batch is sent when its text has grown so large, whatever the number of its rows.
constexpr std::size_t kBatchBytesMax = std::size_t{32} << 20;
// The buffer asks the memory budget for pieces of this size.
constexpr std::size_t kChargeBytes = std::size_t{256} << 10;
// For all questions at the start, asked again on a new connection when one is lost in between; with
// connecting, an error is there within 10 s.
constexpr Duration kCheckTimeout = 4s;

// Pauses between attempts, doubling.
class Retry {
 public:
  explicit Retry(const Backoff& backoff) : backoff_(backoff), pause_(backoff.first) {}

  bool is_waiting() const noexcept { return !reason_.empty(); }
  SteadyTime next() const noexcept { return next_; }
  const std::string& reason() const noexcept { return reason_; }
  SteadyTime since() const noexcept { return since_; }

  void failed(SteadyTime now, std::string reason) {
    if (!is_waiting()) since_ = now;
    reason_ = std::move(reason);
    next_ = now + pause_;
    pause_ = std::min(2 * pause_, backoff_.longest);
  }
  void succeeded() {
    reason_.clear();
    next_ = SteadyTime::min();
    pause_ = backoff_.first;
  }

 private:
  Backoff backoff_;
  Duration pause_;
  SteadyTime next_ = SteadyTime::min();
  SteadyTime since_{};
  std::string reason_;
};

class PostgresWriter final : public SinkWriter {
 public:
  explicit PostgresWriter(std::shared_ptr<const SinkSettings> settings)
      : settings_(std::move(settings)), retry_(settings_->backoff) {}
  ~PostgresWriter() override { release_memory(); }

  void open(OperatorContext& context) override {
    context_ = &context;
    if (context.memory != nullptr) share_ = &context.memory->sinks();
    check_settings(*settings_);
    conninfo_ =
        parse_conninfo(settings_->connection, settings_->connect_timeout, settings_->call_timeout);
    connect(std::min(settings_->call_timeout, kCheckTimeout));
    const std::string warning = transport_warning(connection_->host(), connection_->sslmode());
    if (!warning.empty()) log(LogLevel::kWarning, warning);
    CheckedTable checked = checked_table();
    connection_->set_call_timeout(settings_->call_timeout);
    retry_.succeeded();
    table_ = checked.shown;
    statements_.emplace(checked.target);
    rows_.emplace(std::move(checked.shown), std::move(checked.sources));
  }

  std::size_t write(const Batch& batch, std::size_t first_row) override {
    for (std::size_t row = first_row; row < batch.size(); ++row) {
      if (is_full() && !send()) return row;
      append(batch.row(row));
    }
    if (is_full()) send();
    return batch.size();
  }

  bool flush() override { return send(); }

  SteadyTime next_time() const override {
    if (retry_.is_waiting()) return retry_.next();
    if (!rows_ || rows_->empty()) return kNever;
    return oldest_row_ + settings_->batch_interval;
  }

  void on_time(SteadyTime now) override {
    if (now >= next_time()) send();
  }

  std::string waiting_for() const override { return retry_.reason(); }

  void close() override {
    connection_.reset();
    rows_.reset();
    release_memory();
    context_ = nullptr;
  }

 private:
  bool is_full() const {
    return rows_->size() >= static_cast<std::size_t>(settings_->batch_rows) ||
           rows_->bytes() >= kBatchBytesMax || memory_is_short_;
  }

  void append(const void* row) {
    if (rows_->empty()) oldest_row_ = context_->clock->steady_now();
    rows_->append(row);
    charge_memory();
  }

  // Everything in the buffer is committed, or, false, waits for the next attempt.
  bool send() {
    if (rows_->empty()) return true;
    if (context_->clock->steady_now() < retry_.next()) return false;
    if (!connection_ && !reconnect()) return false;
    try {
      commit_rows();
    } catch (const ServerError& e) {
      if (!e.retryable()) throw about_table(e);
      if (!e.keeps_connection()) connection_.reset();
      wait("PostgreSQL: " + std::string(e.what()));
      return false;
    }
    sent();
    return true;
  }

  void commit_rows() {
    const PhaseScope phase(Phase::kFlush);
    Transaction transaction(*connection_);
    LEVADA_FAILPOINT("sink.flush.begun", kFlush);
    statements_->write(transaction, *rows_);
    transaction.commit();
    LEVADA_FAILPOINT("sink.flush.committed", kFlush);
  }

  void sent() {
    rows_->clear();
    release_memory();
    if (!retry_.is_waiting()) return;
    const auto away = context_->clock->steady_now() - retry_.since();
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(away).count();
    log(LogLevel::kInfo, "PostgreSQL: table " + table_ + " takes rows again after " +
                             std::to_string(seconds) + " s");
    retry_.succeeded();
  }

  void connect(Duration call_timeout) {
    connection_ = std::make_unique<Connection>(conninfo_, settings_->connect_timeout, call_timeout,
                                               context_->log);
  }

  // Once the job runs, even a wrong password is waited for: it is being changed perhaps.
  bool reconnect() {
    try {
      connect(settings_->call_timeout);
      return true;
    } catch (const ConnectorError& e) {
      wait(e.what());
      return false;
    }
  }

  void wait(const std::string& reason) {
    if (!retry_.is_waiting()) {
      log(LogLevel::kWarning, "table " + table_ + " takes no rows, trying again: " + reason);
    }
    retry_.failed(context_->clock->steady_now(), reason);
  }

  CheckedTable checked_table() {
    table_ = settings_->table;
    const SteadyTime until = context_->clock->steady_now() + kCheckTimeout;
    while (true) {
      try {
        if (!connection_) connect(std::min(settings_->call_timeout, kCheckTimeout));
        return check_table(*connection_, *settings_);
      } catch (const ServerError& e) {
        pause_before_checking_again(about_table(e), until);
      } catch (const ConnectorError& e) {
        pause_before_checking_again(e, until);
      }
    }
  }

  // Throws what cannot be mended by a new connection, or not by now.
  void pause_before_checking_again(const ConnectorError& e, SteadyTime until) {
    connection_.reset();
    const SteadyTime now = context_->clock->steady_now();
    if (!e.retryable()) throw e;
    wait(e.what());
    if (retry_.next() >= until) throw e;
    std::this_thread::sleep_for(retry_.next() - now);
  }

  ConnectorError about_table(const ServerError& e) const {
    return {"PostgreSQL: table " + table_ + ": " + e.what(), e.retryable()};
  }

  // The text of a statement is a second copy of the rows. A row that came is charged in any case; when
  // the budget has no room for more, the batch goes out with it.
  void charge_memory() {
    const std::size_t wanted = 2 * rows_->bytes();
    if (share_ == nullptr || wanted <= charged_bytes_) return;
    const std::size_t more =
        (wanted - charged_bytes_ + kChargeBytes - 1) / kChargeBytes * kChargeBytes;
    if (share_->try_acquire(more)) {
      charged_bytes_ += more;
    } else {
      memory_is_short_ = true;
      share_->acquire(wanted - charged_bytes_);
      charged_bytes_ = wanted;
    }
  }

  void release_memory() {
    if (charged_bytes_ > 0) share_->release(charged_bytes_);
    charged_bytes_ = 0;
    memory_is_short_ = false;
  }

  void log(LogLevel level, const std::string& message) const {
    if (context_->log) context_->log(level, message);
  }

  const std::shared_ptr<const SinkSettings> settings_;
  OperatorContext* context_ = nullptr;  // from open() to close()
  Conninfo conninfo_;
  std::string table_;  // schema.table once it is found
  std::optional<Statements> statements_;
  std::unique_ptr<Connection> connection_;  // null: lost
  std::optional<RowBuffer> rows_;
  SteadyTime oldest_row_{};
  Retry retry_;
  MemoryShare* share_ = nullptr;
  std::size_t charged_bytes_ = 0;
  bool memory_is_short_ = false;
};

class PostgresSink final : public SinkFactory {
 public:
  explicit PostgresSink(SinkSettings settings)
      : settings_(std::make_shared<const SinkSettings>(std::move(settings))),
        epochs_(std::make_shared<EpochTable>(settings_)) {}

  std::unique_ptr<SinkWriter> make_writer() override {
    return std::make_unique<PostgresWriter>(settings_);
  }
  bool blocks() const override { return true; }
  Guarantee best_guarantee() const override { return Guarantee::kExactlyOnce; }
  const Guarantee* wanted_guarantee() const override {
    return settings_->guarantee ? &*settings_->guarantee : nullptr;
  }
  std::shared_ptr<const levada::detail::KeyHasher> partitioning() const override {
    return settings_->hasher;
  }
  std::unique_ptr<EpochEncoder> make_encoder() override { return make_epoch_encoder(epochs_); }
  std::unique_ptr<EpochTarget> make_target(const EpochTargetContext& context) override {
    return make_epoch_target(epochs_, context);
  }
  int shards() const override { return settings_->shards; }

 private:
  const std::shared_ptr<const SinkSettings> settings_;
  const std::shared_ptr<EpochTable> epochs_;
};

}  // namespace

std::shared_ptr<SinkFactory> detail::make_sink(SinkSettings settings) {
  return std::make_shared<PostgresSink>(std::move(settings));
}

}  // namespace levada::postgres
