#include "connectors/postgres_connection.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <system_error>
#include <utility>

#include <libpq-fe.h>
#include <poll.h>

// libpqxx 6 declares deprecated what 7 has removed: connection policies, inhibit_reactivation and
// tablewriter. 7 has seize_raw_connection, no reactivation, and stream_to instead; only adopt_connection
// and Transaction::copy in this file would change.
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
#pragma GCC diagnostic ignored "-Wshadow"
#include <pqxx/pqxx>
#include <pqxx/tablewriter>

#include "connectors/postgres_call_guard.h"

namespace levada::postgres {
namespace {

constexpr std::size_t kMessageBytesMax = 1000;

// One line, without "ERROR:" and without what belongs to the statement.
std::string one_line(std::string_view text) {
  const std::size_t statement = std::min(text.find("\nLINE "), text.find("\nCONTEXT"));
  text = text.substr(0, std::min({text.size(), statement, kMessageBytesMax}));
  if (text.starts_with("ERROR:")) text.remove_prefix(6);
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && (text.back() == '\n' || text.back() == ' ')) text.remove_suffix(1);
  std::string line;
  for (const char c : text) {
    if (c == '\n') {
      line += "; ";
    } else if (c != ' ' || line.empty() || line.back() != ' ') {
      line += c == '\t' ? ' ' : c;
    }
  }
  return line;
}

ServerError lost(std::string_view why) { return {"connection lost: " + one_line(why), {}}; }

ServerError refused(std::string_view message, std::string sqlstate) {
  std::string what = one_line(message) + " (SQLSTATE " + sqlstate + ")";
  return {what, std::move(sqlstate)};
}

}  // namespace

ServerError::ServerError(const std::string& what, std::string sqlstate)
    : ConnectorError(what, is_retryable(sqlstate)), sqlstate_(std::move(sqlstate)) {}

bool is_retryable(std::string_view sqlstate) {
  static constexpr std::array<std::string_view, 5> kClasses{"08", "40", "53", "57", "58"};
  // lock_timeout, a session that stood still within its transaction, and a server that is a standby by now: the
  // next connection may find the other one.
  static constexpr std::array<std::string_view, 3> kStates{"55P03", "25P03", "25006"};
  if (sqlstate.empty()) return true;
  const auto has_class = [&](std::string_view c) { return sqlstate.starts_with(c); };
  return std::any_of(kClasses.begin(), kClasses.end(), has_class) ||
         std::find(kStates.begin(), kStates.end(), sqlstate) != kStates.end();
}

// ---- connecting

namespace {

struct ConnectionDeleter {
  void operator()(PGconn* connection) const { PQfinish(connection); }
};
using RawConnection = std::unique_ptr<PGconn, ConnectionDeleter>;

void log_notice(const Log& log, const char* message) noexcept {
  try {
    if (log) log(LogLevel::kInfo, "PostgreSQL: " + one_line(message));
  } catch (...) {  // libpq's frames are no place for exceptions
  }
}

extern "C" void levada_postgres_notice(void* log, const char* message) {
  log_notice(*static_cast<const Log*>(log), message);
}

// Words of the server and of libpq that say that trying again is no use as long as nobody changes anything.
bool is_hopeless(std::string_view message) {
  static constexpr std::array<std::string_view, 8> kWords{
      "authentication failed",  "no password supplied", "does not exist",
      "no pg_hba.conf entry",   "not permitted to log", "permission denied for database",
      "definition of service",  "invalid "};
  return std::any_of(kWords.begin(), kWords.end(), [&](std::string_view word) {
    return message.find(word) != std::string_view::npos;
  }) && message.find(".s.PGSQL.") == std::string_view::npos;
}

ConnectorError cannot_connect(std::string_view message) {
  return {"PostgreSQL: " + one_line(message), !is_hopeless(message)};
}

// Waits until libpq can go on; false at the deadline.
bool wait_for(int socket, PostgresPollingStatusType what, SteadyTime deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(
      deadline - std::chrono::steady_clock::now());
  pollfd wanted{socket, static_cast<short>(what == PGRES_POLLING_READING ? POLLIN : POLLOUT), 0};
  const int timeout = static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000));
  return ::poll(&wanted, 1, timeout) != 0;
}

// PQconnectStart rather than PQconnectdb: notices that come while connecting must not be printed.
RawConnection connect(const Conninfo& conninfo, Duration timeout, const Log& log) {
  std::vector<const char*> keywords, values;
  for (const auto& [keyword, value] : conninfo) {
    keywords.push_back(keyword.c_str());
    values.push_back(value.c_str());
  }
  keywords.push_back(nullptr);
  values.push_back(nullptr);
  const SteadyTime deadline = std::chrono::steady_clock::now() + timeout;
  RawConnection connection(PQconnectStartParams(keywords.data(), values.data(), 0));
  if (!connection) throw ConnectorError("PostgreSQL: out of memory", true);
  PQsetNoticeProcessor(connection.get(), levada_postgres_notice, const_cast<Log*>(&log));
  if (PQstatus(connection.get()) == CONNECTION_BAD) {
    throw cannot_connect(PQerrorMessage(connection.get()));
  }
  PostgresPollingStatusType status = PGRES_POLLING_WRITING;
  while (status != PGRES_POLLING_OK) {
    if (status == PGRES_POLLING_FAILED) throw cannot_connect(PQerrorMessage(connection.get()));
    if (!wait_for(PQsocket(connection.get()), status, deadline)) {
      const char* host = PQhost(connection.get());
      throw ConnectorError("PostgreSQL: no connection to \"" + std::string(host ? host : "") +
                               "\" within " + std::to_string(timeout.count() / 1000) + " ms",
                           true);
    }
    status = PQconnectPoll(connection.get());
  }
  return connection;
}

// Hands libpqxx a connection that is already there. With `inhibit_reactivation` it never makes another.
class AdoptingPolicy : public pqxx::connectionpolicy {
 public:
  explicit AdoptingPolicy(const std::string&) : connectionpolicy(std::string()) {}
  handle do_startconnect(handle original) override {
    return original != nullptr ? original : std::exchange(offered, nullptr);
  }
  handle do_completeconnect(handle original) override { return original; }

  // A policy is made inside its connection, from a string and nothing else.
  static thread_local PGconn* offered;
};
thread_local PGconn* AdoptingPolicy::offered = nullptr;

using PqxxConnection = pqxx::basic_connection_base<AdoptingPolicy>;

std::unique_ptr<PqxxConnection> adopt_connection(RawConnection raw) {
  AdoptingPolicy::offered = raw.release();
  try {
    auto connection = std::make_unique<PqxxConnection>(std::string());
    connection->inhibit_reactivation(true);
    return connection;
  } catch (...) {
    PQfinish(std::exchange(AdoptingPolicy::offered, nullptr));
    throw;
  }
}

class NoticesToLog final : public pqxx::errorhandler {
 public:
  NoticesToLog(pqxx::connection_base& connection, const Log& log)
      : errorhandler(connection), log_(log) {}
  bool operator()(const char message[]) noexcept override {
    log_notice(log_, message);
    return false;
  }

 private:
  const Log& log_;
};

std::string option_in_effect(PGconn* connection, std::string_view keyword) {
  PQconninfoOption* options = PQconninfo(connection);
  std::string value;
  for (const PQconninfoOption* o = options; o != nullptr && o->keyword != nullptr; ++o) {
    if (keyword == o->keyword && o->val != nullptr) value = o->val;
  }
  PQconninfoFree(options);
  return value;
}

}  // namespace

struct Connection::Parts {
  Parts(RawConnection raw, Duration timeout, Log to)
      : log(std::move(to)),
        call_timeout(timeout),
        host(PQhost(raw.get())),
        sslmode(option_in_effect(raw.get(), "sslmode")),
        guard(PQsocket(raw.get())),
        connection(adopt_connection(std::move(raw))),
        notices(*connection, log) {}

  Log log;
  Duration call_timeout;
  std::string host;
  std::string sslmode;
  CallGuard guard;
  std::unique_ptr<PqxxConnection> connection;
  NoticesToLog notices;
};

Connection::Connection(const Conninfo& conninfo, Duration connect_timeout, Duration call_timeout,
                       Log log) {
  RawConnection raw = connect(conninfo, connect_timeout, log);
  try {
    parts_ = std::make_unique<Parts>(std::move(raw), call_timeout, std::move(log));
  } catch (const pqxx::pqxx_exception& e) {
    throw lost(e.base().what());
  } catch (const std::system_error& e) {  // no thread or descriptor left
    throw lost(e.what());
  }
}

Connection::~Connection() {
  // Closing says good-bye to the server, which may be the one that does not answer.
  const CallGuard::Scope bounded(parts_->guard, parts_->call_timeout);
  parts_->connection->disconnect();
}

void Connection::interrupt() noexcept { parts_->guard.expire(); }

void Connection::set_call_timeout(Duration call_timeout) noexcept {
  parts_->call_timeout = call_timeout;
}

std::string Connection::quote_name(const std::string& identifier) {
  return parts_->connection->quote_name(identifier);
}

const std::string& Connection::host() const noexcept { return parts_->host; }
const std::string& Connection::sslmode() const noexcept { return parts_->sslmode; }

// ---- transactions

struct Transaction::Parts {
  Connection::Parts& home;
  std::optional<pqxx::work> work{};
};

namespace {

// Translates what libpqxx throws. Its classes for classes 40 and 08 and for 42501 have lost the SQLSTATE.
template <class F>
auto checked(pqxx::connection_base& connection, CallGuard& guard, Duration timeout, F call) {
  try {
    const CallGuard::Scope bounded(guard, timeout);
    return call();
  } catch (const pqxx::insufficient_privilege& e) {
    throw refused(e.what(), "42501");
  } catch (const pqxx::sql_error& e) {
    if (!connection.is_open() && e.sqlstate().empty()) throw lost(e.what());
    throw refused(e.what(), e.sqlstate().empty() ? "XX000" : e.sqlstate());
  } catch (const pqxx::serialization_failure& e) {
    throw refused(e.what(), "40001");
  } catch (const pqxx::deadlock_detected& e) {
    throw refused(e.what(), "40P01");
  } catch (const pqxx::transaction_rollback& e) {
    throw refused(e.what(), "40000");
  } catch (const pqxx::pqxx_exception& e) {
    if (guard.expired()) {
      throw lost("no answer within " + std::to_string(timeout.count() / 1000) + " ms");
    }
    throw lost(e.base().what());
  }
}

// Only ever raises durability: remote_apply stays what it is. A client that is frozen in the middle
// does not hold its locks for ever.
std::string settings_of_transaction(const TransactionLimits& limits) {
  const auto ms = [](Duration time) {
    return std::to_string(std::chrono::ceil<std::chrono::milliseconds>(time).count());
  };
  return "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = " +
         ms(limits.statement) +
         "; SET LOCAL idle_in_transaction_session_timeout = " + ms(limits.idle) +
         (limits.lock > Duration{0} ? "; SET LOCAL lock_timeout = " + ms(limits.lock) : "") +
         "; SELECT pg_catalog.set_config('synchronous_commit', 'on', true) "
         "WHERE pg_catalog.current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')";
}

std::vector<ResultRow> rows_of(const pqxx::result& result) {
  std::vector<ResultRow> rows;
  for (const auto& row : result) {
    ResultRow& values = rows.emplace_back();
    for (const auto& field : row) {
      if (field.is_null()) {
        values.emplace_back();
      } else {
        values.emplace_back(std::string(field.c_str(), field.size()));
      }
    }
  }
  return rows;
}

}  // namespace

Transaction::Transaction(Connection& connection, const TransactionLimits& limits)
    : parts_(new Parts{*connection.parts_}) {
  Connection::Parts& home = parts_->home;
  TransactionLimits bounds = limits;
  if (bounds.statement == Duration{0}) bounds.statement = home.call_timeout;
  if (bounds.idle == Duration{0}) bounds.idle = 2 * bounds.statement;
  checked(*home.connection, home.guard, home.call_timeout, [&] {
    parts_->work.emplace(*home.connection);
    parts_->work->exec(settings_of_transaction(bounds));
  });
}

Transaction::~Transaction() {
  const CallGuard::Scope bounded(parts_->home.guard, parts_->home.call_timeout);
  parts_->work.reset();
}

std::vector<ResultRow> Transaction::query(const std::string& sql,
                                          const std::vector<std::string>& parameters) {
  Connection::Parts& home = parts_->home;
  return checked(*home.connection, home.guard, home.call_timeout, [&] {
    return rows_of(
        parts_->work->exec_params(sql, pqxx::prepare::make_dynamic_params(parameters)));
  });
}

void Transaction::copy(const std::string& table, const std::vector<std::string>& columns,
                       const std::function<bool(std::string&)>& next) {
  Connection::Parts& home = parts_->home;
  checked(*home.connection, home.guard, home.call_timeout, [&] {
    pqxx::tablewriter writer(*parts_->work, table, columns.begin(), columns.end());
    std::string lines;
    while (next(lines)) {
      lines.pop_back();  // the writer ends each of its "lines" itself
      writer.write_raw_line(lines);
    }
    writer.complete();
  });
}

void Transaction::commit() {
  Connection::Parts& home = parts_->home;
  checked(*home.connection, home.guard, home.call_timeout, [&] { parts_->work->commit(); });
}

}  // namespace levada::postgres

#pragma GCC diagnostic pop
