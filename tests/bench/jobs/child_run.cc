#include "child_run.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <stdexcept>

#include "cpu_time.h"

extern char** environ;

namespace bench {
namespace {

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

std::string read_all(int descriptor) {
  std::string all;
  char part[4096];
  for (;;) {
    const ssize_t count = read(descriptor, part, sizeof part);
    if (count <= 0) return all;
    all.append(part, static_cast<std::size_t>(count));
  }
}

}  // namespace

ChildRun run_child(const std::vector<std::string>& words,
                   const std::vector<std::string>& environment) {
  std::vector<std::string> arguments = words;
  std::vector<std::string> variables = environment;  // the first of a name is the one that getenv finds
  for (char** variable = environ; *variable != nullptr; ++variable) variables.emplace_back(*variable);
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("pipe failed");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  const auto begun = std::chrono::steady_clock::now();
  pid_t child = 0;
  const int failed = posix_spawn(&child, words[0].c_str(), &actions, nullptr,
                                 pointers(arguments).data(), pointers(variables).data());
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  ChildRun run;
  if (failed == 0) run.output = read_all(ends[0]);
  close(ends[0]);
  rusage usage{};
  if (failed != 0 || wait4(child, &run.status, 0, &usage) != child) {
    throw std::runtime_error(words[0] + " cannot be run");
  }
  run.wall_s =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count();
  run.cpu_s = cpu_seconds(usage);
  run.rss_mb = static_cast<double>(usage.ru_maxrss) / 1024;
  return run;
}

}  // namespace bench
