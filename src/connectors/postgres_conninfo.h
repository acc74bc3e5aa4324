// Connection strings: what the sink adds to the user's, and how safe the transport is that they ask for.
//
// Threads:  pure functions.
// Failures: ConnectorError, not retryable, that shows nothing of the string.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "levada/required.h"
#include "levada/time.h"

namespace levada::postgres {

/// Keywords and values of libpq, each keyword once.
using Conninfo = std::vector<std::pair<std::string, std::string>>;

/// Takes a connection string apart and adds what keeps a dead server from being waited for without end,
/// where the user has not said otherwise.
Conninfo parse_conninfo(const Secret& text, Duration connect_timeout, Duration call_timeout);

/// A socket's folder or an address that does not leave the machine.
bool is_local_host(std::string_view host);

/// The warning when a server on another machine is not sure to be the one that is meant; else empty.
/// `host` and `sslmode` are those in effect.
std::string transport_warning(std::string_view host, std::string_view sslmode);

}  // namespace levada::postgres
