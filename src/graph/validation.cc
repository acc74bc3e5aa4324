#include "graph/validation.h"

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace levada {
namespace {

constexpr int kParallelismMax = 32768;

// Collects problems; each check is one function.
class Validation {
 public:
  Validation(const LogicalGraph& graph, const EnvironmentOptions& options)
      : graph_(graph), options_(options), problems_(graph.problems()) {}

  std::vector<GraphProblem> run() {
    check_options();
    if (graph_.nodes().empty()) add("the graph has no steps", std::source_location::current());
    check_readers();
    check_uids();
    check_event_time();
    check_guarantees();
    check_copies();
    return std::move(problems_);
  }

 private:
  void add(std::string what, std::source_location where) {
    problems_.push_back({std::move(what), where});
  }

  std::string name(int id) const { return describe(graph_, id); }

  int parallelism(const Transformation& node) const {
    return node.parallelism > 0 ? node.parallelism : options_.parallelism;
  }

  void check_options() {
    const auto here = std::source_location::current();
    if (options_.parallelism < 1) add("options: parallelism must be at least 1", here);
    if (options_.max_parallelism < 1 || options_.max_parallelism > kParallelismMax) {
      add("options: max_parallelism must be from 1 to 32768", here);
    }
    if (options_.batch_rows < 1 || options_.batch_rows > 65536) {
      add("options: batch_rows must be from 1 to 65536", here);
    }
    if (options_.checkpoint.retained < 1) add("options: checkpoint.retained must be at least 1", here);
    if (options_.checkpoint.interval > Duration{0} && options_.checkpoint.directory.empty()) {
      add("options: checkpoint.interval is given but checkpoint.directory is not", here);
    }
    check_duration("checkpoint.interval", options_.checkpoint.interval);
    check_duration("checkpoint.min_pause", options_.checkpoint.min_pause);
    check_duration("checkpoint.timeout", options_.checkpoint.timeout);
    check_duration("checkpoint.tolerable_failure", options_.checkpoint.tolerable_failure);
    if (options_.checkpoint.compression > Compression::kZstd) {
      add("options: checkpoint.compression is none of kNone, kLz4 and kZstd", here);
    }
    check_restart();
    for (const Transformation& node : graph_.nodes()) {
      if (parallelism(node) > options_.max_parallelism) {
        add("parallelism " + std::to_string(parallelism(node)) + " of " + node.name +
                " is above max_parallelism " + std::to_string(options_.max_parallelism),
            node.where);
      }
    }
  }

  // So long that nobody waits for it, and short enough to be added to any time.
  void check_duration(const char* option, Duration value) {
    constexpr Duration kMost = std::chrono::hours{24 * 36500};
    if (value >= Duration{0} && value <= kMost) return;
    add(std::string("options: ") + option + " must be from 0 to 100 years", std::source_location::current());
  }

  void check_restart() {
    const auto here = std::source_location::current();
    const RestartStrategy& restart = options_.restart;
    const FixedDelay& fixed = restart.fixed_delay;
    const ExponentialDelay& exponential = restart.exponential;
    const FailureRate& rate = restart.failure_rate;
    if (fixed.attempts < 0) add("options: restart: attempts must be at least 0", here);
    check_duration("restart: delay", fixed.delay);
    check_duration("restart: initial_backoff", exponential.initial_backoff);
    check_duration("restart: max_backoff", exponential.max_backoff);
    check_duration("restart: reset_backoff_threshold", exponential.reset_backoff_threshold);
    if (exponential.initial_backoff == Duration{0}) {
      add("options: restart: initial_backoff must be greater than 0", here);
    }
    if (exponential.max_backoff < exponential.initial_backoff) {
      add("options: restart: max_backoff must not be less than initial_backoff", here);
    }
    // Written so that a number which is none is refused as well.
    if (!(exponential.backoff_multiplier >= 1 && exponential.backoff_multiplier <= 1e9)) {
      add("options: restart: backoff_multiplier must be from 1 to 1e9", here);
    }
    if (!(exponential.jitter_factor >= 0 && exponential.jitter_factor <= 1)) {
      add("options: restart: jitter_factor must be from 0 to 1", here);
    }
    if (rate.max_failures_per_interval < 1) {
      add("options: restart: max_failures_per_interval must be at least 1", here);
    }
    check_duration("restart: interval", rate.interval);
    if (rate.interval == Duration{0}) add("options: restart: interval must be greater than 0", here);
    check_duration("restart: delay", rate.delay);
  }

  void check_readers() {
    std::set<int> read;
    for (const Transformation& node : graph_.nodes()) {
      for (const InputEdge& edge : node.inputs) read.insert(edge.from.node);
    }
    for (std::size_t id = 0; id < graph_.nodes().size(); ++id) {
      const Transformation& node = graph_.nodes()[id];
      if (node.kind == NodeKind::kSink || read.contains(static_cast<int>(id))) continue;
      add("nobody reads the stream of " + name(static_cast<int>(id)) +
              "; give it a sink, or discard()",
          node.where);
    }
  }

  static bool needs_uid(const Transformation& node) {
    return node.kind != NodeKind::kOperator || node.stateful;
  }

  void check_uids() {
    std::map<std::string, int> seen;
    for (std::size_t i = 0; i < graph_.nodes().size(); ++i) {
      const Transformation& node = graph_.nodes()[i];
      const int id = static_cast<int>(i);
      if (node.uid.empty()) {
        if (options_.checkpoint.enabled() && needs_uid(node)) {
          add(name(id) + " needs a .uid(...): checkpoints are on and it is a source, a sink or keeps "
                         "state",
              node.where);
        }
        continue;
      }
      const auto [at, fresh] = seen.emplace(node.uid, id);
      if (!fresh) {
        add("uid '" + node.uid + "' is given twice: to " + graph_.node(at->second).name + " and to " +
                node.name,
            node.where);
      }
    }
  }

  // The sources upstream of a node that have no watermarks.
  void sources_without_time(int id, std::set<int>& visited, std::vector<int>& found) const {
    if (!visited.insert(id).second) return;
    const Transformation& node = graph_.node(id);
    if (node.kind == NodeKind::kSource && !node.watermarks.given) found.push_back(id);
    for (const InputEdge& edge : node.inputs) sources_without_time(edge.from.node, visited, found);
  }

  void check_event_time() {
    for (std::size_t i = 0; i < graph_.nodes().size(); ++i) {
      const Transformation& node = graph_.nodes()[i];
      if (!node.needs_event_time) continue;
      std::set<int> visited;
      std::vector<int> found;
      sources_without_time(static_cast<int>(i), visited, found);
      for (const int source : found) {
        add(name(static_cast<int>(i)) + " works in event time, but the source " + name(source) +
                " has no watermarks; give from_source an event_time(...)",
            node.where);
      }
    }
  }

  void check_guarantees() {
    for (std::size_t i = 0; i < graph_.nodes().size(); ++i) {
      const Transformation& node = graph_.nodes()[i];
      if (!node.sink) continue;
      const Guarantee* wanted = node.sink->wanted_guarantee();
      if (wanted == nullptr) {
        if (!options_.checkpoint.enabled()) {
          add(name(static_cast<int>(i)) + " needs a .guarantee: checkpoints are off, so say whether "
                                          "it is kNone or kAtLeastOnce",
              node.where);
        }
      } else if (*wanted == Guarantee::kExactlyOnce && !options_.checkpoint.enabled()) {
        add(name(static_cast<int>(i)) +
                " has .guarantee = kExactlyOnce, but checkpoints are off: give the environment "
                "checkpoint.interval and checkpoint.directory, or the sink another .guarantee",
            node.where);
      } else if (*wanted > node.sink->best_guarantee()) {
        add(name(static_cast<int>(i)) + " cannot write exactly once yet; its guarantee is at least "
                                        "once",
            node.where);
      }
    }
  }

  // A stream of rows that cannot be copied may have one reader only.
  void check_copies() {
    std::map<std::pair<int, std::size_t>, int> readers;
    for (const Transformation& node : graph_.nodes()) {
      for (const InputEdge& edge : node.inputs) {
        const BatchType* type = graph_.node(edge.from.node).outputs[edge.from.output].type;
        const bool copies = edge.exchange.kind == ExchangeKind::kBroadcast ||
                            ++readers[{edge.from.node, edge.from.output}] > 1;
        if (copies && type->copy == nullptr) {
          add("the rows of " + name(edge.from.node) + " cannot be copied, but " + node.name +
                  " is a second reader",
              node.where);
        }
      }
    }
  }

  const LogicalGraph& graph_;
  const EnvironmentOptions& options_;
  std::vector<GraphProblem> problems_;
};

}  // namespace

void validate(const LogicalGraph& graph, const EnvironmentOptions& options) {
  std::vector<GraphProblem> problems = Validation(graph, options).run();
  if (!problems.empty()) throw GraphError(std::move(problems));
}

}  // namespace levada
