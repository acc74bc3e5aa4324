// The job as a child process: started, watched through its progress lines, killed.
//
// All calls come from the thread that made it: the child dies with that thread, whatever happens to
// this program.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace orders {

// One line of the job: progress rows=123 rows_per_s=456 watermark=… checkpoint=17 late=3
// position=0:1234,1:1200
struct Progress {
  std::int64_t rows = 0;
  double rows_per_s = 0;
  std::string watermark;   // "-" before the first
  std::string checkpoint;  // id of the last complete one, "-" before the first
  std::int64_t late = 0;
  std::vector<std::int64_t> positions;  // by partition: the next offset that the job will read

  bool operator==(const Progress&) const = default;
};

// What an ended process has used, with all its threads.
struct ResourceUse {
  double cpu_seconds = 0;  // user and system
  double rss_mb = 0;       // the greatest resident set
};

std::optional<Progress> parse_progress(std::string_view line, std::int32_t partition_count);

class JobProcess {
 public:
  // Starts args[0] with these arguments and, beside this program's own, these NAME=VALUE variables.
  JobProcess(std::vector<std::string> args, const std::vector<std::string>& variables,
             std::int32_t partition_count);
  ~JobProcess();  // kills it
  JobProcess(const JobProcess&) = delete;
  JobProcess& operator=(const JobProcess&) = delete;

  // Waits for the next progress line, the end of the process, or the timeout; nothing in the last
  // two cases. Throws std::runtime_error on a progress line that cannot be read.
  std::optional<Progress> next_progress(std::chrono::milliseconds timeout);

  bool running() const { return !status_.has_value(); }
  void kill();  // SIGKILL, and waits for the end
  void ask_to_stop();  // SIGTERM
  void pause();  // SIGSTOP
  void resume();  // SIGCONT
  bool paused() const;  // by SIGSTOP, from here or by itself

  // REQUIRES: !running().
  bool exited_well() const;
  bool was_killed() const;           // by SIGKILL, from here or by itself
  std::string describe_end() const;  // "exit 1: no such topic"

  ResourceUse resource_use() const { return resource_use_; }

  const std::string& output() const { return other_output_; }  // lines that are not progress

 private:
  void read_output(std::chrono::milliseconds timeout);
  void read_available(int& descriptor, std::string& text);
  void reap(bool wait);
  std::optional<Progress> take_line();

  std::int32_t partition_count_;
  pid_t pid_ = -1;
  int output_descriptor_ = -1;
  int error_descriptor_ = -1;
  std::string pending_;  // output after the last whole line
  std::string other_output_;
  std::string errors_;
  std::optional<int> status_;  // as waitpid() gives it, once ended
  ResourceUse resource_use_;
};

}  // namespace orders
