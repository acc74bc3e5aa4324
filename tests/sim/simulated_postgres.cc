#include "sim/simulated_postgres.h"

#include <algorithm>
#include <utility>

namespace levada::testing {
// ---- a client's transaction

class SimulatedTransaction final : public MarkerTransaction {
 public:
  SimulatedTransaction(SimulatedPostgres& server, int client, MarkerKey key)
      : server_(server), client_(client), key_(key), id_(server.begin(client, std::move(key))) {}
  ~SimulatedTransaction() override {
    if (!left_) server_.end(id_);
  }

  std::optional<Claimed> claim(const EpochOwner& self, CheckpointId initial) override {
    call(PostgresCall::kClaim);
    server_.lock(client_, id_);
    auto& mine = server_.open(client_, id_);
    const auto found = server_.seen_by(mine);
    if (!found) {
      mine.marker = EpochMarker{initial, self};
      return Claimed{.marker = *mine.marker, .created = true};
    }
    const EpochOwner& old = found->owner;
    if (old != self && old.incarnation >= self.incarnation) return std::nullopt;
    mine.marker = EpochMarker{found->epoch, self};
    return Claimed{.marker = *mine.marker, .created = false};
  }

  std::optional<EpochMarker> read(bool lock) override {
    call(PostgresCall::kRead);
    if (lock) server_.lock(client_, id_);
    return server_.seen_by(server_.open(client_, id_));
  }

  void write(EpochRecords& records) override {
    EpochRecord record;
    std::vector<PostgresCommit::Row> rows;
    while (records.next(record)) rows.push_back({record.epoch, std::string(record.body)});
    call(PostgresCall::kWrite);
    server_.open(client_, id_).rows = std::move(rows);
  }

  bool advance(const EpochOwner& self, CheckpointId previous, CheckpointId epoch,
               std::uint64_t) override {
    call(PostgresCall::kAdvance);
    server_.lock(client_, id_);
    auto& mine = server_.open(client_, id_);
    const auto found = server_.seen_by(mine);
    if (!found || found->owner != self || found->epoch != previous) return false;
    mine.marker = EpochMarker{epoch, self};
    return true;
  }

  void commit() override {
    const PostgresFault fault = server_.fates_.fate(client_, key_, PostgresCall::kCommit);
    auto& mine = server_.open(client_, id_);
    switch (fault) {
      case PostgresFault::kConflict:
        server_.end(id_);
        throw TargetError(TargetStatus::kConflict, "simulated PostgreSQL: deadlock detected");
      case PostgresFault::kCut:
        server_.end(id_);
        server_.cut_off(client_);
      case PostgresFault::kOrphan:
        mine.orphan = true;
        left_ = true;
        server_.fates_.sent(client_);
        server_.cut_off(client_);
      default:
        server_.commit(id_);
        left_ = true;
        server_.fates_.sent(client_);
        if (fault == PostgresFault::kReplyLost) server_.cut_off(client_);
    }
  }

 private:
  void call(PostgresCall which) {
    const PostgresFault fault = server_.fates_.fate(client_, key_, which);
    server_.open(client_, id_);
    if (fault == PostgresFault::kNone) return;
    server_.end(id_);
    if (fault == PostgresFault::kConflict) {
      throw TargetError(TargetStatus::kConflict, "simulated PostgreSQL: deadlock detected");
    }
    server_.cut_off(client_);
  }

  SimulatedPostgres& server_;
  const int client_;
  const MarkerKey key_;
  const std::uint64_t id_;
  bool left_ = false;
};

class SimulatedDatabase final : public MarkerDatabase {
 public:
  SimulatedDatabase(SimulatedPostgres& server, int client, MarkerKey key)
      : server_(server), client_(client), key_(std::move(key)) {}

  std::string name() const override { return "simulated PostgreSQL"; }
  std::string schema() const override { return "rows"; }
  std::unique_ptr<MarkerTransaction> begin() override {
    const PostgresFault fault = server_.fates_.fate(client_, key_, PostgresCall::kBegin);
    if (connected_to_ && *connected_to_ != server_.failovers_) {
      connected_to_.reset();
      server_.cut_off(client_);
    }
    if (fault == PostgresFault::kRefused) {
      server_.fates_.cut_off(client_);
      throw TargetError(TargetStatus::kUnavailable, "simulated PostgreSQL: connection refused");
    }
    if (fault != PostgresFault::kNone) server_.cut_off(client_);
    connected_to_ = server_.failovers_;
    return std::make_unique<SimulatedTransaction>(server_, client_, key_);
  }
  void disconnect() noexcept override { connected_to_.reset(); }

 private:
  SimulatedPostgres& server_;
  const int client_;
  const MarkerKey key_;
  std::optional<std::uint64_t> connected_to_;  // which server, counted in failovers
};

// ---- the server

std::unique_ptr<MarkerDatabase> SimulatedPostgres::connect(int client, MarkerKey key) {
  return std::make_unique<SimulatedDatabase>(*this, client, std::move(key));
}

SimulatedPostgres::Id SimulatedPostgres::begin(int client, MarkerKey key) {
  Transaction& begun = open_[++newest_];
  begun.client = client;
  begun.key = std::move(key);
  return newest_;
}

void SimulatedPostgres::cut_off(int client) {
  fates_.cut_off(client);
  throw TargetError(TargetStatus::kUnavailable, "simulated PostgreSQL: the connection is lost");
}

// The server has ended it: an idle session, a failover.
SimulatedPostgres::Transaction& SimulatedPostgres::open(int client, Id id) {
  const auto found = open_.find(id);
  if (found == open_.end()) cut_off(client);
  return found->second;
}

void SimulatedPostgres::lock(int client, Id id) {
  const MarkerKey key = open(client, id).key;
  for (;;) {
    const auto held = locks_.find(key);
    if (held == locks_.end()) break;
    if (held->second == id) return;
    const Id holder = held->second;
    const bool orphan = open_.at(holder).orphan;
    if (!fates_.waits(client, orphan)) {
      end(id);
      throw TargetError(TargetStatus::kLocked, "simulated PostgreSQL: lock timeout");
    }
    // Waiting let others go on; he may have ended meanwhile.
    if (!open_.contains(holder)) continue;
    if (orphan && fates_.orphan_commits()) {
      commit(holder);
    } else {
      end(holder);
    }
  }
  open(client, id);
  locks_[key] = id;
}

std::optional<EpochMarker> SimulatedPostgres::marker(const MarkerKey& key) const {
  const auto found = markers_.find(key);
  return found == markers_.end() ? std::nullopt : std::optional(found->second);
}

std::optional<EpochMarker> SimulatedPostgres::seen_by(const Transaction& transaction) const {
  return transaction.marker ? transaction.marker : marker(transaction.key);
}

void SimulatedPostgres::commit(Id id) {
  Transaction done = std::move(open_.at(id));
  end(id);
  if (!done.marker && done.rows.empty()) return;
  PostgresCommit& made = commits_.emplace_back();
  made.client = done.client;
  made.key = done.key;
  made.before = marker(done.key);
  made.after = done.marker;
  made.rows = std::move(done.rows);
  if (done.marker) markers_[done.key] = *done.marker;
  fates_.committed(made);
}

void SimulatedPostgres::end(Id id) noexcept {
  const auto found = open_.find(id);
  if (found == open_.end()) return;
  std::erase_if(locks_, [&](const auto& lock) { return lock.second == id; });
  open_.erase(found);
}

bool SimulatedPostgres::end_an_orphan() {
  const auto found = std::find_if(open_.begin(), open_.end(),
                                  [](const auto& entry) { return entry.second.orphan; });
  if (found == open_.end()) return false;
  if (fates_.orphan_commits()) {
    commit(found->first);
  } else {
    end(found->first);
  }
  return true;
}

int SimulatedPostgres::fail_over(int count) {
  ++failovers_;
  open_.clear();
  locks_.clear();
  int lost = 0;
  while (lost < count && !commits_.empty()) {
    const PostgresCommit& last = commits_.back();
    if (last.after && last.before) markers_[last.key] = *last.before;
    if (last.after && !last.before) markers_.erase(last.key);
    commits_.pop_back();
    ++lost;
  }
  return lost;
}

}  // namespace levada::testing
