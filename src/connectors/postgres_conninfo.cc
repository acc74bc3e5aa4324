#include "connectors/postgres_conninfo.h"

#include <chrono>
#include <memory>

#include <libpq-fe.h>

#include "levada/error.h"

namespace levada::postgres {
namespace {

struct OptionsDeleter {
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};
using Options = std::unique_ptr<PQconninfoOption, OptionsDeleter>;

std::string* find(Conninfo& conninfo, std::string_view keyword) {
  for (auto& [key, value] : conninfo) {
    if (key == keyword) return &value;
  }
  return nullptr;
}

void set(Conninfo& conninfo, const char* keyword, std::string value) {
  if (std::string* old = find(conninfo, keyword)) {
    *old = std::move(value);
  } else {
    conninfo.emplace_back(keyword, std::move(value));
  }
}

void set_default(Conninfo& conninfo, const char* keyword, std::string value) {
  if (find(conninfo, keyword) == nullptr) conninfo.emplace_back(keyword, std::move(value));
}

Conninfo parse(const std::string& text) {
  // libpq's message would quote the part that it does not understand.
  char* message = nullptr;
  const Options options(PQconninfoParse(text.c_str(), &message));
  PQfreemem(message);
  if (!options || text.find('\0') != std::string::npos) {
    throw ConnectorError("PostgreSQL: the connection string does not parse (its text is not shown)",
                         false);
  }
  Conninfo conninfo;
  for (const PQconninfoOption* o = options.get(); o->keyword != nullptr; ++o) {
    if (o->val != nullptr) conninfo.emplace_back(o->keyword, o->val);
  }
  return conninfo;
}

// In a URI, a password with an unescaped @ or / would come out in part as host, port or database, and
// from there into messages.
void check_address(const std::string& text, Conninfo& conninfo) {
  const bool is_uri = text.starts_with("postgres");
  const std::string* database = find(conninfo, "dbname");
  const std::string* host = find(conninfo, "host");
  const std::string* port = find(conninfo, "port");
  const bool odd_host = host != nullptr && host->find('@', 1) != std::string::npos;
  const bool odd_port =
      port != nullptr && port->find_first_not_of("0123456789,") != std::string::npos;
  const bool odd_database =
      is_uri && database != nullptr && database->find('@') != std::string::npos;
  if (odd_host || odd_port || odd_database) {
    throw ConnectorError(
        "PostgreSQL: the connection string has no plausible host, port and database (its text is not shown); in "
        "a URI, an @ or / of the user name or the password is written %40 or %2F",
        false);
  }
}

}  // namespace

Conninfo parse_conninfo(const Secret& text, Duration connect_timeout, Duration call_timeout) {
  Conninfo conninfo = parse(text.reveal());
  check_address(text.reveal(), conninfo);
  const auto call_ms = std::chrono::ceil<std::chrono::milliseconds>(call_timeout).count();
  const auto connect_s = std::chrono::ceil<std::chrono::seconds>(connect_timeout).count();
  set(conninfo, "connect_timeout", std::to_string(connect_s));
  set(conninfo, "client_encoding", "UTF8");
  set_default(conninfo, "fallback_application_name", "levada");
  set_default(conninfo, "tcp_user_timeout", std::to_string(call_ms));
  set_default(conninfo, "keepalives_idle", "10");
  set_default(conninfo, "keepalives_interval", "5");
  set_default(conninfo, "keepalives_count", "3");
  return conninfo;
}

bool is_local_host(std::string_view host) {
  return host.empty() || host.front() == '/' || host.front() == '@' || host == "localhost" ||
         host == "::1" || host.starts_with("127.");
}

std::string transport_warning(std::string_view host, std::string_view sslmode) {
  if (is_local_host(host) || sslmode == "verify-full") return {};
  return "PostgreSQL: sslmode is \"" + std::string(sslmode) + "\" for host \"" + std::string(host) +
         "\"; only \"verify-full\" makes sure that rows and password go to the server that is meant";
}

}  // namespace levada::postgres
