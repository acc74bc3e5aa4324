// Connection, Transaction: the only face of libpqxx in the library. Every call is bounded in time; every
// error is a ConnectorError that says whether the same call may succeed later.
//
// Threads:  one thread.
// Lifetime: a Transaction within its Connection's; not committed, it is rolled back. After an error a
//           transaction is only destroyed; after a lost connection the Connection too.
// Failures: ConnectorError; nothing is printed, notices go to the log. No message shows the connection
//           string.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "connectors/postgres_conninfo.h"
#include "levada/error.h"
#include "levada/log.h"
#include "levada/time.h"

namespace levada::postgres {

using Log = std::function<void(LogLevel, std::string_view)>;

/// A row of a result; NULL is none.
using ResultRow = std::vector<std::optional<std::string>>;

/// The server refused a statement, or is gone. `sqlstate` is empty when the connection was lost.
class ServerError final : public ConnectorError {
 public:
  ServerError(const std::string& what, std::string sqlstate);
  const std::string& sqlstate() const noexcept { return sqlstate_; }
  /// The transaction alone failed (serialisation, deadlock): the connection is good.
  bool keeps_connection() const noexcept { return sqlstate_.starts_with("40"); }

 private:
  std::string sqlstate_;
};

/// Whether a statement that failed with this SQLSTATE may succeed when it is sent again: lost connections,
/// conflicts with other transactions, a server that is short of something, stopped or only a standby.
bool is_retryable(std::string_view sqlstate);

class Connection {
 public:
  /// Connects. Calls that take longer than `call_timeout` are given up, and the connection with them.
  Connection(const Conninfo& conninfo, Duration connect_timeout, Duration call_timeout, Log log);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Makes the call under way, and all later ones, fail as with a lost connection; from any thread.
  void interrupt() noexcept;
  /// For the calls from now on.
  void set_call_timeout(Duration call_timeout) noexcept;
  /// The identifier in quotes.
  std::string quote_name(const std::string& identifier);
  /// Host and sslmode in effect, those of a service file included.
  const std::string& host() const noexcept;
  const std::string& sslmode() const noexcept;

 private:
  friend class Transaction;
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

/// Bounds that the server keeps within one transaction.
struct TransactionLimits {
  Duration statement{};  ///< 0: the connection's call timeout
  Duration lock{};       ///< how long a statement waits for a lock; 0: as long as it may take
  Duration idle{};       ///< between statements; 0: twice the statement's
};

class Transaction {
 public:
  /// Begins, READ COMMITTED. What it commits is durable, whatever the user's settings say.
  explicit Transaction(Connection& connection, const TransactionLimits& limits = {});
  ~Transaction();
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;

  /// Runs one statement; $1 is the first of `parameters`.
  std::vector<ResultRow> query(const std::string& sql,
                               const std::vector<std::string>& parameters = {});
  /// COPY … FROM STDIN. `table` and `columns` are quoted; `next` replaces its argument by the next whole
  /// lines in COPY's text format and returns false when there are none.
  void copy(const std::string& table, const std::vector<std::string>& columns,
            const std::function<bool(std::string&)>& next);
  /// When this throws, the transaction may have been committed nevertheless.
  void commit();

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace levada::postgres
