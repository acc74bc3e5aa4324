// StreamEnvironment: where a dataflow is built and started.
//
// Threads:  one thread builds and executes. Lifetime: a job keeps what it needs; the environment may go.
#pragma once

#include <functional>
#include <memory>
#include <source_location>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "levada/connectors/values.h"
#include "levada/data_stream.h"
#include "levada/job.h"
#include "levada/options.h"
#include "levada/restore_report.h"
#include "levada/source.h"
#include "levada/watermarks.h"

namespace levada {

class StreamEnvironment {
 public:
  explicit StreamEnvironment(EnvironmentOptions options = {});

  /// A stream of the rows of `source`.
  ///
  /// Shape:   Source<T>, Watermarks<T> -> DataStream<T>. Without watermarks the stream has the source's
  ///          own times, if any, and no event-time window may follow.
  /// Errors:  a row type without a Serde does not compile; GraphError at execute when an event-time
  ///          window follows a source without watermarks.
  template <class T>
  DataStream<T> from_source(const Source<T>& source,
                            std::type_identity_t<Watermarks<T>> watermarks = {},
                            std::source_location where = std::source_location::current()) {
    static_assert(Serializable<T>,
                  "from_source: describe the row type with LEVADA_RECORD(Row, fields...) or "
                  "specialise levada::Serde<Row>");
    return DataStream<T>(graph_, add_source(source.name, batch_type<T>(), source.factory,
                                            std::move(watermarks.strategy), where));
  }

  /// A bounded stream of given rows, in order, read by one subtask.
  template <class T>
  DataStream<T> from_values(std::vector<T> values, std::type_identity_t<Watermarks<T>> watermarks = {},
                            std::source_location where = std::source_location::current()) {
    auto shared = std::make_shared<const std::vector<T>>(std::move(values));
    const GenerateOptions options{.rows = shared->size()};
    // A source of 0 rows is bounded as well: index sources take 0 for "without end".
    Source<T> source{shared->empty() ? detail::make_indexed_source({.rows = 1, .splits = 0}, {})
                                     : detail::make_indexed_source(
                                           options, detail::append_values<T>(std::move(shared))),
                     "values"};
    return from_source(source, std::move(watermarks), where);
  }

  /// A stream of `f(0)`, `f(1)`, …; `f` must be pure, for it is called again after a restart.
  ///
  /// Shape:   T(std::uint64_t), or void(std::uint64_t, T&), which assigns into an old row and so reuses
  ///          what its strings and vectors hold.
  template <class T, class F>
    requires std::is_invocable_r_v<T, const F&, std::uint64_t> ||
             std::is_invocable_v<const F&, std::uint64_t, T&>
  DataStream<T> generate(F f, GenerateOptions options = {},
                         std::type_identity_t<Watermarks<T>> watermarks = {},
                         std::source_location where = std::source_location::current()) {
    Source<T> source{
        detail::make_indexed_source(options, detail::append_generated<T>(std::move(f))), "generate"};
    return from_source(source, std::move(watermarks), where);
  }

  /// Runs the graph to its end. Resumes from the newest checkpoint of that job name in the checkpoint
  /// directory that verifies, else starts fresh.
  ///
  /// Errors:  GraphError with everything wrong with the graph; JobError when the job fails.
  void execute(std::string_view job_name, const ExecuteOptions& options = {});

  /// Starts the graph and returns at once. Errors of the graph are thrown here, all others by the job.
  Job execute_async(std::string_view job_name, const ExecuteOptions& options = {});

  /// What a restore of this graph from a checkpoint or savepoint would take over, migrate, drop or refuse, and
  /// why. Nothing is run, and nothing is changed; execute() decides in the same way.
  ///
  /// Shape:   `path`: as ExecuteOptions::restore. The job is taken to have the name that the checkpoint has.
  /// Errors:  GraphError; StateError when the checkpoint cannot be read.
  RestoreReport check_restore(std::string_view path, const ExecuteOptions& options = {}) const;

  /// The physical plan as text, without running anything. Errors: GraphError.
  std::string explain() const;

  const EnvironmentOptions& options() const noexcept { return options_; }
  const std::shared_ptr<LogicalGraph>& graph() const noexcept { return graph_; }

 private:
  OutputRef add_source(const std::string& name, const BatchType& type,
                       std::shared_ptr<SourceFactory> factory, detail::WatermarkStrategy watermarks,
                       std::source_location where);

  EnvironmentOptions options_;
  std::shared_ptr<LogicalGraph> graph_;
};

}  // namespace levada
