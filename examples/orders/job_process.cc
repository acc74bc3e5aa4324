#include "job_process.h"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <stdexcept>

#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace orders {
namespace {

constexpr std::string_view kProgress = "progress ";

template <typename Number>
bool parse_number(std::string_view text, Number& value) {
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  return result.ec == std::errc{} && result.ptr == text.data() + text.size();
}

// Cuts and returns what stands before the separator; all of it when there is none.
std::string_view cut(std::string_view& text, char separator) {
  const std::size_t end = text.find(separator);
  const std::string_view part = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return part;
}

bool parse_positions(std::string_view text, std::vector<std::int64_t>& positions) {
  if (text == "-") return true;  // before the job knows its partitions
  while (!text.empty()) {
    std::string_view offset = cut(text, ',');
    const std::string_view partition_text = cut(offset, ':');
    std::size_t partition = 0;
    if (!parse_number(partition_text, partition) || partition >= positions.size() ||
        !parse_number(offset, positions[partition])) {
      return false;
    }
  }
  return true;
}

bool parse_field(std::string_view name, std::string_view value, Progress& progress) {
  if (name == "rows") return parse_number(value, progress.rows);
  if (name == "rows_per_s") return parse_number(value, progress.rows_per_s);
  if (name == "late") return parse_number(value, progress.late);
  if (name == "position") return parse_positions(value, progress.positions);
  if (name == "watermark") progress.watermark = value;
  if (name == "checkpoint") progress.checkpoint = value;
  return name == "watermark" || name == "checkpoint";
}

std::vector<char*> pointers(std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (std::string& text : texts) result.push_back(text.data());
  result.push_back(nullptr);
  return result;
}

double seconds(const timeval& time) {
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
}

std::array<int, 2> make_pipe() {
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error(std::strerror(errno));
  return ends;
}

// In the child, between fork and exec: only calls that are safe there.
[[noreturn]] void become(pid_t parent, int output, int errors, char** args, char** variables) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(127);  // the parent died before prctl
  dup2(output, STDOUT_FILENO);
  dup2(errors, STDERR_FILENO);
  close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);
  execve(args[0], args, variables);
  const char* reason = strerrordesc_np(errno);
  (void)!write(STDERR_FILENO, reason, std::strlen(reason));
  _exit(127);
}

}  // namespace

std::optional<Progress> parse_progress(std::string_view line, std::int32_t partition_count) {
  if (!line.starts_with(kProgress)) return std::nullopt;
  line.remove_prefix(kProgress.size());
  Progress progress;
  progress.positions.resize(static_cast<std::size_t>(partition_count));
  int field_count = 0;
  while (!line.empty()) {
    std::string_view value = cut(line, ' ');
    const std::string_view name = cut(value, '=');
    if (!parse_field(name, value, progress)) return std::nullopt;
    ++field_count;
  }
  if (field_count != 6) return std::nullopt;
  return progress;
}

JobProcess::JobProcess(std::vector<std::string> args, const std::vector<std::string>& variables,
                       std::int32_t partition_count)
    : partition_count_(partition_count) {
  // The new variables first: the first of two with one name counts.
  std::vector<std::string> environment = variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    environment.emplace_back(*variable);
  }
  const std::vector<char*> arg_pointers = pointers(args);
  const std::vector<char*> variable_pointers = pointers(environment);
  const std::array<int, 2> output = make_pipe();
  const std::array<int, 2> errors = make_pipe();

  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    become(parent, output[1], errors[1], const_cast<char**>(arg_pointers.data()),
           const_cast<char**>(variable_pointers.data()));
  }
  const int fork_error = errno;
  close(output[1]);
  close(errors[1]);
  output_descriptor_ = output[0];
  error_descriptor_ = errors[0];
  if (pid_ < 0) throw std::runtime_error(std::string("fork: ") + std::strerror(fork_error));
}

JobProcess::~JobProcess() {
  kill();
  for (const int descriptor : {output_descriptor_, error_descriptor_}) {
    if (descriptor >= 0) close(descriptor);
  }
}

void JobProcess::kill() {
  if (!running()) return;
  ::kill(pid_, SIGKILL);
  reap(/*wait=*/true);
}

void JobProcess::ask_to_stop() { ::kill(pid_, SIGTERM); }
void JobProcess::pause() { ::kill(pid_, SIGSTOP); }
void JobProcess::resume() { ::kill(pid_, SIGCONT); }

bool JobProcess::paused() const {
  siginfo_t info{};
  const int stopped = WSTOPPED | WNOHANG | WNOWAIT;
  return running() && waitid(P_PID, static_cast<id_t>(pid_), &info, stopped) == 0 && info.si_pid == pid_;
}

void JobProcess::reap(bool wait) {
  if (!running()) return;
  int status = 0;
  rusage usage{};
  pid_t result = 0;
  do {
    result = wait4(pid_, &status, wait ? 0 : WNOHANG, &usage);
  } while (result < 0 && errno == EINTR);
  if (result != pid_) return;
  status_ = status;
  resource_use_ = {seconds(usage.ru_utime) + seconds(usage.ru_stime),
                   static_cast<double>(usage.ru_maxrss) / 1024};
}

std::optional<Progress> JobProcess::next_progress(std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (true) {
    if (auto progress = take_line()) return progress;
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        deadline - std::chrono::steady_clock::now());
    if (output_descriptor_ < 0 && error_descriptor_ < 0) {
      reap(/*wait=*/true);  // both ends closed: it is ending
      return std::nullopt;
    }
    if (left.count() <= 0) return std::nullopt;
    read_output(left);
  }
}

std::optional<Progress> JobProcess::take_line() {
  for (std::size_t end; (end = pending_.find('\n')) != std::string::npos;) {
    const std::string line = pending_.substr(0, end);
    pending_.erase(0, end + 1);
    if (!line.starts_with(kProgress)) {
      other_output_ += line + '\n';
      continue;
    }
    const auto progress = parse_progress(line, partition_count_);
    if (!progress) throw std::runtime_error("cannot read the job's progress line: " + line);
    return progress;
  }
  return std::nullopt;
}

void JobProcess::read_output(std::chrono::milliseconds timeout) {
  std::array<pollfd, 2> polled{{{output_descriptor_, POLLIN, 0}, {error_descriptor_, POLLIN, 0}}};
  if (poll(polled.data(), polled.size(), static_cast<int>(timeout.count()) + 1) <= 0) return;
  if (polled[0].revents != 0) read_available(output_descriptor_, pending_);
  if (polled[1].revents != 0) read_available(error_descriptor_, errors_);
}

void JobProcess::read_available(int& descriptor, std::string& text) {
  std::array<char, 4096> buffer{};
  const ssize_t count = read(descriptor, buffer.data(), buffer.size());
  if (count > 0) {
    text.append(buffer.data(), static_cast<std::size_t>(count));
  } else if (count == 0 || errno != EINTR) {
    close(descriptor);
    descriptor = -1;
  }
}

bool JobProcess::exited_well() const {
  return WIFEXITED(*status_) && WEXITSTATUS(*status_) == 0;
}

bool JobProcess::was_killed() const {
  return WIFSIGNALED(*status_) && WTERMSIG(*status_) == SIGKILL;
}

std::string JobProcess::describe_end() const {
  std::string text = WIFSIGNALED(*status_) ? std::string("signal ") + strsignal(WTERMSIG(*status_))
                                           : "exit " + std::to_string(WEXITSTATUS(*status_));
  if (!errors_.empty()) text += ": " + errors_.substr(0, errors_.find_last_not_of('\n') + 1);
  return text;
}

}  // namespace orders
