// PostgresProxy: stands between clients and a PostgreSQL server and cuts a connection where it is told:
// at any byte, or around a COMMIT. It uses neither the library nor libpq.
//
//   PostgresProxy proxy(conninfo);            // of the server
//   client(proxy.conninfo());
//   proxy.cut_at_commit({.where = CommitCut::kInReply, .bytes = 7});
//   proxy.wait_for_cuts(1, 10s);
//
// Threads:  calls from any thread. Each connection has two threads of its own, one for each direction.
// Lifetime: the destructor cuts every connection.
// Failures: std::system_error from the constructor. A server that is away is a connection that ends.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

namespace levada::testing {

/// Where the connection ends in the life of a COMMIT, as the client sees it.
struct CommitCut {
  enum Where {
    kBefore,   ///< after the first `bytes` of the request: it is never committed
    kAfter,    ///< after the request, which reaches the server in full, and before any reply
    kInReply,  ///< after the first `bytes` of the reply
  };
  Where where = kBefore;
  std::size_t bytes = 0;
  /// For so long after the client was cut off the server knows nothing of it: its transaction stays open
  /// with all its locks, and then is rolled back (kBefore) or gets the COMMIT (kAfter).
  std::chrono::milliseconds server_lags{0};

  /// Of the message that says COMMIT, and of a reply to it.
  static constexpr std::size_t kRequestBytes = 12;
  static constexpr std::size_t kReplyBytes = 18;
};

class PostgresProxy {
 public:
  /// `conninfo`: keyword=value pairs without quotes; the host is a directory or an IPv4 address.
  explicit PostgresProxy(const std::string& conninfo);
  ~PostgresProxy();
  PostgresProxy(const PostgresProxy&) = delete;
  PostgresProxy& operator=(const PostgresProxy&) = delete;

  /// How clients connect through the proxy. Without encryption: it has to read along.
  const std::string& conninfo() const noexcept { return conninfo_; }

  /// Cuts the connection on which the next COMMIT comes.
  void cut_at_commit(CommitCut cut);
  /// Lets `count` more bytes pass, those of all connections and both directions together, and cuts the
  /// connection on which the next one comes.
  void cut_after_bytes(std::uint64_t count);
  /// Withdraws a cut that was not made.
  void cut_nowhere();

  std::uint64_t bytes() const noexcept { return bytes_; }      // that have passed
  std::uint64_t commits() const noexcept { return commits_; }  // that came from clients
  std::uint64_t cuts() const noexcept { return cuts_; }
  /// False when there are still fewer cuts at the end of the time.
  bool wait_for_cuts(std::uint64_t count, std::chrono::milliseconds time);

 private:
  class Link;

  void accept_clients();
  std::optional<CommitCut> next_commit();
  std::size_t let_pass(std::size_t wanted);
  void note_cut();
  int connect_to_server() const;

  std::string server_host_;
  std::uint16_t server_port_ = 5432;
  std::string conninfo_;
  int listener_ = -1;
  std::atomic<std::uint64_t> bytes_{0};
  std::atomic<std::uint64_t> commits_{0};
  std::atomic<std::uint64_t> cuts_{0};

  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<CommitCut> commit_cut_;       // guarded by mutex_
  std::optional<std::uint64_t> bytes_left_;   // guarded by mutex_
  std::list<std::unique_ptr<Link>> links_;    // of the accepting thread
  std::thread thread_;
};

}  // namespace levada::testing
