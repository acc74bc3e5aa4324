#include "support/postgres_proxy.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <sstream>
#include <system_error>
#include <utility>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace levada::testing {
namespace {

constexpr std::size_t kBufferBytes = 16 * 1024;
constexpr std::size_t kHeadBytes = 5;  // type and length of a message; the length counts itself

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

std::size_t big_endian(std::string_view bytes) {
  std::uint32_t number = 0;
  std::memcpy(&number, bytes.data(), sizeof number);
  return ntohl(number);
}

// False when the peer is gone.
bool send_all(int to, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(to, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno == EINTR) continue;
    if (sent <= 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
  return true;
}

void send_at_once(int socket) {
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int listen_on_loopback(std::uint16_t& port) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  auto* const any = reinterpret_cast<sockaddr*>(&address);
  if (listener < 0 || ::bind(listener, any, size) != 0 || ::listen(listener, 64) != 0 ||
      ::getsockname(listener, any, &size) != 0) {
    fail("listening for PostgreSQL clients");
  }
  port = ntohs(address.sin_port);
  return listener;
}

}  // namespace

// One client and its connection to the server.
class PostgresProxy::Link {
 public:
  Link(PostgresProxy& proxy, int client, int server)
      : proxy_(proxy),
        client_(client),
        server_(server),
        up_([this] { forward_requests(); }),
        down_([this] { forward_replies(); }) {}
  ~Link() {
    end();
    up_.join();
    down_.join();
    ::close(client_);
    ::close(server_);
  }
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  bool ended() const { return ended_threads_ == 2; }

 private:
  void end() {
    ::shutdown(client_, SHUT_RDWR);
    ::shutdown(server_, SHUT_RDWR);
  }

  // False when it is over.
  bool pass(int to, std::string_view bytes) {
    const std::size_t allowed = proxy_.let_pass(bytes.size());
    if (!send_all(to, bytes.substr(0, allowed))) return false;
    if (allowed == bytes.size()) return true;
    end();
    proxy_.note_cut();
    return false;
  }

  template <class F>
  static void read_all(int from, F take) {
    std::array<char, kBufferBytes> buffer{};
    while (true) {
      const ssize_t count = ::recv(from, buffer.data(), buffer.size(), 0);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0 || !take(std::string_view(buffer.data(), static_cast<std::size_t>(count)))) return;
    }
  }

  void forward_requests() {
    read_all(client_, [this](std::string_view bytes) { return take_requests(bytes); });
    end();
    ++ended_threads_;
  }

  void forward_replies() {
    read_all(server_, [this](std::string_view bytes) { return take_reply(bytes); });
    end();
    ++ended_threads_;
  }

  // Passes everything on as it comes, but holds a short query back until it is whole.
  bool take_requests(std::string_view bytes) {
    const std::size_t skipped = std::min(skip_, bytes.size());
    skip_ -= skipped;
    if (skipped > 0 && !pass(server_, bytes.substr(0, skipped))) return false;
    pending_ += bytes.substr(skipped);
    while (true) {
      const std::size_t size = whole_message();
      if (size == 0) return true;
      const std::string message = pending_.substr(0, size);
      pending_.erase(0, message.size());
      skip_ = size - message.size();
      if (!take_message(message)) return false;
    }
  }

  // The size of the message at the front; 0 when more of it must be seen first.
  std::size_t whole_message() const {
    if (!greeted_) {  // the first message has no type
      return pending_.size() >= 4 && pending_.size() >= big_endian(pending_) ? big_endian(pending_) : 0;
    }
    if (pending_.size() < kHeadBytes) return 0;
    const std::size_t size = 1 + big_endian(std::string_view(pending_).substr(1));
    const bool may_commit = pending_[0] == 'Q' && size == CommitCut::kRequestBytes;
    return may_commit && pending_.size() < size ? 0 : size;
  }

  bool take_message(const std::string& message) {
    const bool commit = greeted_ && message.size() == CommitCut::kRequestBytes && message[0] == 'Q' &&
                        std::string_view(message).substr(kHeadBytes) == std::string_view("COMMIT\0", 7);
    greeted_ = true;
    if (!commit) return pass(server_, message);
    const std::optional<CommitCut> cut = proxy_.next_commit();
    return cut ? cut_commit(*cut, message) : pass(server_, message);
  }

  bool cut_commit(const CommitCut& cut, std::string_view message) {
    if (cut.where == CommitCut::kInReply) {
      reply_left_ = static_cast<std::int64_t>(cut.bytes);
      return pass(server_, message);
    }
    if (cut.where == CommitCut::kBefore) send_all(server_, message.substr(0, cut.bytes));
    reply_left_ = kNothing;
    ::shutdown(client_, SHUT_RDWR);
    proxy_.note_cut();
    std::this_thread::sleep_for(cut.server_lags);
    if (cut.where == CommitCut::kAfter) send_all(server_, message);
    return false;
  }

  bool take_reply(std::string_view bytes) {
    const std::int64_t left = reply_left_;
    if (left == kAll) return pass(client_, bytes);
    if (left == kNothing) return true;  // thrown away until the server's end
    const auto count = std::min(static_cast<std::size_t>(left), bytes.size());
    reply_left_ = left - static_cast<std::int64_t>(count);
    if (!pass(client_, bytes.substr(0, count))) return false;
    if (count == bytes.size()) return true;
    end();
    proxy_.note_cut();
    return false;
  }

  static constexpr std::int64_t kAll = -1, kNothing = -2;

  PostgresProxy& proxy_;
  const int client_;
  const int server_;
  bool greeted_ = false;
  std::string pending_;   // of a message that is not passed on yet
  std::size_t skip_ = 0;  // bytes of the current message that are still to come
  std::atomic<std::int64_t> reply_left_{kAll};
  std::atomic<int> ended_threads_{0};
  std::thread up_;
  std::thread down_;
};

PostgresProxy::PostgresProxy(const std::string& conninfo) {
  std::uint16_t port = 0;
  listener_ = listen_on_loopback(port);
  std::istringstream words(conninfo);
  for (std::string word; words >> word;) {
    if (word.starts_with("host=")) {
      server_host_ = word.substr(5);
    } else if (word.starts_with("port=")) {
      server_port_ = static_cast<std::uint16_t>(std::stoi(word.substr(5)));
    } else {
      conninfo_ += word + " ";
    }
  }
  conninfo_ += "host=127.0.0.1 port=" + std::to_string(port) + " sslmode=disable gssencmode=disable";
  thread_ = std::thread([this] { accept_clients(); });
}

PostgresProxy::~PostgresProxy() {
  ::shutdown(listener_, SHUT_RDWR);
  thread_.join();
  links_.clear();
  ::close(listener_);
}

void PostgresProxy::accept_clients() {
  while (true) {
    const int client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    if (client < 0 && (errno == EINTR || errno == ECONNABORTED)) continue;
    if (client < 0) return;
    links_.remove_if([](const auto& link) { return link->ended(); });
    const int server = connect_to_server();
    if (server < 0) {
      ::close(client);
      continue;
    }
    send_at_once(client);
    links_.push_back(std::make_unique<Link>(*this, client, server));
  }
}

int PostgresProxy::connect_to_server() const {
  const auto connect = [](int family, const auto& address) {
    const int server = ::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (server < 0) return -1;
    if (::connect(server, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) return server;
    ::close(server);
    return -1;
  };
  if (server_host_.starts_with('/')) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    const std::string path = server_host_ + "/.s.PGSQL." + std::to_string(server_port_);
    if (path.size() >= sizeof address.sun_path) return -1;
    std::memcpy(address.sun_path, path.data(), path.size());
    return connect(AF_UNIX, address);
  }
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(server_port_);
  if (::inet_pton(AF_INET, server_host_.c_str(), &address.sin_addr) != 1) return -1;
  const int server = connect(AF_INET, address);
  if (server >= 0) send_at_once(server);
  return server;
}

void PostgresProxy::cut_at_commit(CommitCut cut) {
  const std::lock_guard lock(mutex_);
  commit_cut_ = cut;
}

void PostgresProxy::cut_after_bytes(std::uint64_t count) {
  const std::lock_guard lock(mutex_);
  bytes_left_ = count;
}

void PostgresProxy::cut_nowhere() {
  const std::lock_guard lock(mutex_);
  commit_cut_.reset();
  bytes_left_.reset();
}

bool PostgresProxy::wait_for_cuts(std::uint64_t count, std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, time, [&] { return cuts_ >= count; });
}

std::optional<CommitCut> PostgresProxy::next_commit() {
  ++commits_;
  const std::lock_guard lock(mutex_);
  return std::exchange(commit_cut_, std::nullopt);
}

// How many of the bytes pass before the cut.
std::size_t PostgresProxy::let_pass(std::size_t wanted) {
  std::size_t allowed = wanted;
  {
    const std::lock_guard lock(mutex_);
    if (bytes_left_) {
      allowed = static_cast<std::size_t>(std::min<std::uint64_t>(*bytes_left_, wanted));
      *bytes_left_ -= allowed;
      if (allowed < wanted) bytes_left_.reset();
    }
  }
  bytes_ += allowed;
  return allowed;
}

void PostgresProxy::note_cut() {
  const std::lock_guard lock(mutex_);
  ++cuts_;
  changed_.notify_all();
}

}  // namespace levada::testing
