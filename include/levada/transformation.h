// The logical graph: what the user built, as plain data. Typed streams (data_stream.h) add to it; the
// planner (src/plan) reads it. Partitioning and union are no nodes of it: they are encoded in the edges.
//
// Threads:  built by one thread; immutable once a job runs.
// Source:   the split of logical and physical graph follows Flink's Transformation.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <vector>

#include "levada/detail/key.h"
#include "levada/error.h"
#include "levada/operator.h"
#include "levada/sink.h"
#include "levada/source.h"
#include "levada/watermarks.h"

namespace levada {

/// How the rows of an edge find their subtask.
enum class ExchangeKind {
  kForward,    ///< subtask i to subtask i; becomes kRebalance when the parallelisms differ
  kHash,       ///< by the key group of the row's key
  kRebalance,  ///< round robin, batch by batch
  kBroadcast,  ///< every row to every subtask
};
std::string_view to_string(ExchangeKind kind);

struct Exchange {
  ExchangeKind kind = ExchangeKind::kForward;
  std::shared_ptr<const detail::KeyHasher> hasher;  ///< kHash
};

/// An output of a transformation: 0 is the main one, the others are side outputs.
struct OutputRef {
  int node = -1;
  std::size_t output = 0;
};

/// One edge into an input. A union is several edges into the same input.
struct InputEdge {
  OutputRef from;
  std::size_t input = 0;
  Exchange exchange;
};

struct OutputSpec {
  std::string tag;  ///< of a side output; empty for the main one
  const BatchType* type = nullptr;
};

namespace detail {

/// A keyed aggregate in two phases: rows are folded by key where they are made, and what they come to is
/// merged where the key belongs. The plan picks: one phase where nothing has to travel.
struct TwoPhases {
  /// The local operator: rows in; partial results on the main output, rows that it does not fold on side
  /// output 0.
  std::function<std::unique_ptr<Operator>()> make_local;
  /// The final operator: partial results on input 0, rows on input 1.
  std::function<std::unique_ptr<Operator>()> make_final;
  const BatchType* row_type = nullptr;
  const BatchType* partial_type = nullptr;
  std::shared_ptr<const KeyHasher> partial_hasher;
};

}  // namespace detail

enum class NodeKind { kSource, kOperator, kSink };

/// A node of the logical graph.
struct Transformation {
  NodeKind kind = NodeKind::kOperator;
  std::string name;
  std::string uid;
  int parallelism = 0;  ///< 0: the environment's
  std::vector<InputEdge> inputs;
  std::vector<OutputSpec> outputs;  ///< empty for a sink
  /// Makes the operator of one subtask (not for sources).
  std::function<std::unique_ptr<Operator>()> make_operator;
  std::optional<detail::TwoPhases> two_phases;  ///< where the aggregate can be split
  std::shared_ptr<SourceFactory> source;   ///< kSource
  detail::WatermarkStrategy watermarks;    ///< kSource
  std::shared_ptr<SinkFactory> sink;       ///< kSink by a connector
  /// The states that its operator writes, but not a source's positions. What is not listed is not restored;
  /// where none are, nothing is known before the operator runs.
  std::vector<StateSpec> states;
  bool stateful = false;          ///< keeps keyed state: needs a uid once checkpoints are on
  bool needs_event_time = false;  ///< is wrong without watermarks
  bool may_block = false;         ///< its subtasks get threads of their own
  bool open_side_outputs = false;  ///< its function may emit to any tag: side outputs come with their readers
  bool chain_with_input = true;
  bool chain_with_output = true;
  std::source_location where;
};

class LogicalGraph {
 public:
  /// Adds a node and returns its id: ids grow in the order of building.
  int add(Transformation transformation);
  /// Notes something wrong; execute reports all of them at once.
  void problem(std::string what, std::source_location where);

  Transformation& node(int id) { return nodes_[static_cast<std::size_t>(id)]; }
  const Transformation& node(int id) const { return nodes_[static_cast<std::size_t>(id)]; }
  const std::vector<Transformation>& nodes() const noexcept { return nodes_; }
  const std::vector<GraphProblem>& problems() const noexcept { return problems_; }

  /// The index of the side output `tag` of node `id` with row type `type`; notes a problem and returns 0
  /// when there is none.
  std::size_t side_output(int id, std::string_view tag, const BatchType& type,
                          std::source_location where);

 private:
  std::vector<Transformation> nodes_;
  std::vector<GraphProblem> problems_;
};

/// Names a node in a message: its uid, else its name and number.
std::string describe(const LogicalGraph& graph, int id);

}  // namespace levada
