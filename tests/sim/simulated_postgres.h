// SimulatedPostgres: what of a PostgreSQL server matters to exactly-once output. Transactions at READ
// COMMITTED over one table and its marker rows, row locks and those who wait for them, connections that
// break around COMMIT, backends that go on without their client, and a standby that lacks the newest
// transactions. What goes wrong, and when, is asked of PostgresFates.
//
// Threads:    one.
// Invariants: 1. Whoever changes a marker, or reads it FOR UPDATE, holds its lock until he ends.
//             2. Nothing of a transaction is visible before it commits, and all of it then.
// Failures:   TargetError, as the real one's connection has them; what the fates throw passes through.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "levada/epoch_target.h"

namespace levada::testing {

/// The calls of a client at which something may happen.
enum class PostgresCall { kBegin, kClaim, kRead, kWrite, kAdvance, kCommit };

enum class PostgresFault {
  kNone,
  kRefused,     ///< begin: no connection
  kConflict,    ///< the server rolls back and says so
  kCut,         ///< the connection breaks; the server rolls back
  kReplyLost,   ///< commit: it is done, nobody is told
  kOrphan,      ///< commit: the connection breaks, the backend is still at it
};

using MarkerKey = std::tuple<std::string, std::string, int>;

/// A transaction that is visible.
struct PostgresCommit {
  struct Row {
    CheckpointId epoch = 0;
    std::string body;
  };
  int client = 0;
  MarkerKey key;
  std::optional<EpochMarker> before;
  std::optional<EpochMarker> after;  ///< empty: the marker was not changed
  std::vector<Row> rows;
};

/// Decides what goes wrong. Every function may run other clients before it returns.
class PostgresFates {
 public:
  virtual ~PostgresFates() = default;
  virtual PostgresFault fate(int client, const MarkerKey& key, PostgresCall call) = 0;
  /// The client is told that the server is away.
  virtual void cut_off(int client) = 0;
  /// After a commit that is done, or whose backend is on its own, before the client sees anything.
  virtual void sent(int client) = 0;
  /// A client waits for a lock. True: he waits until its holder has ended; a living one then loses his
  /// session, which was idle for too long.
  virtual bool waits(int client, bool holder_is_orphan) = 0;
  /// How an orphan ends.
  virtual bool orphan_commits() = 0;
  virtual void committed(const PostgresCommit& commit) = 0;
};

class SimulatedPostgres {
 public:
  explicit SimulatedPostgres(PostgresFates& fates) : fates_(fates) {}

  /// The database as client `client` sees it; for one shard.
  std::unique_ptr<MarkerDatabase> connect(int client, MarkerKey key);

  const std::vector<PostgresCommit>& commits() const noexcept { return commits_; }
  std::optional<EpochMarker> marker(const MarkerKey& key) const;
  /// Whether a transaction holds a marker.
  bool is_locked() const noexcept { return !locks_.empty(); }
  /// REQUIRES: none is locked.
  void remove_markers() { markers_.clear(); }
  /// Ends an orphan, if there is one.
  bool end_an_orphan();
  /// The server is replaced by a standby without its last `count` transactions. Returns how many
  /// are lost.
  int fail_over(int count);

 private:
  friend class SimulatedTransaction;
  friend class SimulatedDatabase;
  using Id = std::uint64_t;
  struct Transaction {
    int client = 0;
    MarkerKey key;
    std::optional<EpochMarker> marker;
    std::vector<PostgresCommit::Row> rows;
    bool orphan = false;
  };

  Id begin(int client, MarkerKey key);
  [[noreturn]] void cut_off(int client);
  Transaction& open(int client, Id id);
  void lock(int client, Id id);
  std::optional<EpochMarker> seen_by(const Transaction& transaction) const;
  void commit(Id id);
  void end(Id id) noexcept;

  PostgresFates& fates_;
  Id newest_ = 0;
  std::map<Id, Transaction> open_;
  std::map<MarkerKey, Id> locks_;
  std::map<MarkerKey, EpochMarker> markers_;
  std::vector<PostgresCommit> commits_;
  std::uint64_t failovers_ = 0;  // connections to the server before each are gone
};

}  // namespace levada::testing
