#include "levada/error.h"

#include <utility>

namespace levada {
namespace {

std::string describe(const std::vector<GraphProblem>& problems) {
  std::string text =
      problems.size() == 1
          ? "the graph cannot run:"
          : "the graph cannot run: " + std::to_string(problems.size()) + " problems:";
  for (const GraphProblem& problem : problems) {
    text.append("\n  ").append(problem.what).append(" (").append(problem.where.file_name());
    text.append(":").append(std::to_string(problem.where.line())).append(")");
  }
  return text;
}

std::string describe(const std::string& node, int subtask, const std::string& what) {
  if (node.empty()) return what;
  std::string text = "node '" + node + "'";
  if (subtask >= 0) text += ", subtask " + std::to_string(subtask);
  return text + ": " + what;
}

}  // namespace

GraphError::GraphError(std::vector<GraphProblem> problems)
    : std::runtime_error(describe(problems)), problems_(std::move(problems)) {}

ConnectorError::ConnectorError(const std::string& what, bool retryable)
    : std::runtime_error(what), retryable_(retryable) {}

StateError::StateError(const std::string& what) : std::runtime_error(what) {}

FormatError::FormatError(const std::string& what) : std::runtime_error(what) {}

JobError::JobError(JobErrorCode code, std::string node, int subtask, const std::string& what,
                   std::exception_ptr cause)
    : std::runtime_error(describe(node, subtask, what)),
      code_(code),
      node_(std::move(node)),
      subtask_(subtask),
      cause_(std::move(cause)) {}

std::string_view to_string(JobErrorCode code) {
  switch (code) {
    case JobErrorCode::kUserCode:
      return "user code";
    case JobErrorCode::kConnector:
      return "connector";
    case JobErrorCode::kState:
      return "state";
    case JobErrorCode::kCheckpoint:
      return "checkpoint";
    case JobErrorCode::kAlreadyRunning:
      return "already running";
    case JobErrorCode::kCancelled:
      return "cancelled";
    case JobErrorCode::kFenced:
      return "fenced";
    case JobErrorCode::kSinkAhead:
      return "sink ahead";
    case JobErrorCode::kMarkerLost:
      return "marker lost";
    case JobErrorCode::kEpochLogLost:
      return "epoch log lost";
  }
  return "?";
}

}  // namespace levada
