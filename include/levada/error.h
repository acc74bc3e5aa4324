// The exceptions of the public face. Each class says what can be done about it; the text names what is
// wrong and where. Third-party exceptions never cross the library's border.
#pragma once

#include <cstdint>
#include <exception>
#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace levada {

/// One thing wrong with a graph, and the line of the user's program that built it.
struct GraphProblem {
  std::string what;
  std::source_location where;
};

/// The graph cannot run. Thrown by execute with everything that is wrong, not only the first.
class GraphError : public std::runtime_error {
 public:
  explicit GraphError(std::vector<GraphProblem> problems);
  const std::vector<GraphProblem>& problems() const noexcept { return problems_; }

 private:
  std::vector<GraphProblem> problems_;
};

/// A broker, database or file outside the job refused or is gone. `retryable` tells whether the same
/// call may succeed later without anyone changing anything.
class ConnectorError : public std::runtime_error {
 public:
  ConnectorError(const std::string& what, bool retryable);
  bool retryable() const noexcept { return retryable_; }

 private:
  bool retryable_;
};

/// State or a checkpoint cannot be written, read or restored, or outgrew its memory budget.
class StateError : public std::runtime_error {
 public:
  explicit StateError(const std::string& what);
};

/// A record does not parse. Its source decides by its policy what becomes of it.
class FormatError : public std::runtime_error {
 public:
  explicit FormatError(const std::string& what);
};

/// What ended a job.
enum class JobErrorCode {
  kUserCode,         ///< a lambda or function of the user threw
  kConnector,        ///< a server or file refused or stayed away
  kState,            ///< state or checkpoint
  kCheckpoint,       ///< checkpoints failed for longer than allowed
  kAlreadyRunning,   ///< another instance holds the checkpoint directory
  kCancelled,        ///< cancelled while something waited for its result
  kFenced,           ///< a later instance of the job has taken an exactly-once sink over
  kSinkAhead,        ///< a sink shows output of a checkpoint newer than the one restored
  kMarkerLost,       ///< a sink's marker is gone, so nobody knows what was published
  kEpochLogLost,     ///< output that was not published yet is missing or damaged in the epoch log
};

/// "user code", "connector", ...
std::string_view to_string(JobErrorCode code);

/// A job failed and was not restarted (any more). Thrown by Job::wait and StreamEnvironment::execute.
class JobError : public std::runtime_error {
 public:
  JobError(JobErrorCode code, std::string node, int subtask, const std::string& what,
           std::exception_ptr cause = nullptr);
  JobErrorCode code() const noexcept { return code_; }
  /// The uid (or name) of the node that failed; empty when no single node did.
  const std::string& node() const noexcept { return node_; }
  /// The index of the failed subtask; -1 when no single one did.
  int subtask() const noexcept { return subtask_; }
  /// The exception that the node threw, if any.
  std::exception_ptr cause() const noexcept { return cause_; }

 private:
  JobErrorCode code_;
  std::string node_;
  int subtask_;
  std::exception_ptr cause_;
};

}  // namespace levada
