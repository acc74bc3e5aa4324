// Runs a command of the shell and gives what it printed.
#pragma once

#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace levada::testing {

struct CommandOutcome {
  int exit_code = -1;
  std::vector<std::string> lines;  ///< of standard output and standard error
};

/// `output` is a file for what it prints.
inline CommandOutcome run_command(const std::string& command, const std::string& output) {
  const int status = std::system((command + " >'" + output + "' 2>&1").c_str());
  CommandOutcome outcome;
  if (WIFEXITED(status)) outcome.exit_code = WEXITSTATUS(status);
  std::ifstream file(output);
  for (std::string line; std::getline(file, line);) outcome.lines.push_back(line);
  return outcome;
}

}  // namespace levada::testing
