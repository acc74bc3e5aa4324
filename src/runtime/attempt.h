// Attempt: one try at running a plan: its tasks and the channels between them. A restart makes a new
// one from the same plan.
//
// Threads:  made and destroyed by the job's control while no task is being stepped.
// Lifetime: tasks go before the channels they use.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/epoch_sinks.h"
#include "checkpoint/restore.h"
#include "exchange/channel.h"
#include "levada/options.h"
#include "operators/source_operator.h"
#include "plan/physical_plan.h"
#include "runtime/task.h"

namespace levada {

/// What an attempt is made from.
struct AttemptParts {
  std::shared_ptr<const PhysicalPlan> plan;
  const EnvironmentOptions* options = nullptr;
  std::string job;
  const Clock* clock = nullptr;
  Log* log = nullptr;
  MemoryBudget* memory = nullptr;
  BackgroundQueue* background = nullptr;
  EpochSinks* sinks = nullptr;  ///< null: no sink is exactly once
  TaskListener* listener = nullptr;
  std::shared_ptr<const RestoredCheckpoint> restored;  ///< null: a fresh start
  std::map<int, std::vector<SplitState>> splits;       ///< of each source node, in order
  /// Null without checkpoints.
  std::function<std::unique_ptr<StateFileWriter>(CheckpointId, int chain, int subtask)> make_writer;
  std::function<std::shared_ptr<ColdFilesWriter>(CheckpointId, int chain, int subtask,
                                                 std::shared_ptr<KnownColdFiles>)>
      make_cold_writer;
};

class Attempt {
 public:
  explicit Attempt(AttemptParts parts);
  ~Attempt();

  /// Upstream before downstream; a task's id is its index.
  const std::vector<Task*>& tasks() const noexcept { return task_list_; }

 private:
  struct EdgeChannels {
    std::vector<std::unique_ptr<Channel>> channels;  // [from subtask × to parallelism + to subtask]
    int to_parallelism = 1;
    bool forward = false;
    Channel* at(int from, int to) const;
  };

  void make_channels();
  void make_task(const PlanChain& chain, int subtask);
  void reserve_cold_memory();
  std::string cold_job() const;
  void add_cold(TaskParts& task, const PlanChain& chain, int subtask);
  bool keeps_keyed_state(const PlanChain& chain) const;
  void add_source(TaskParts& task, const PlanChain& chain, int subtask);
  void add_stages(TaskParts& task, const PlanChain& chain, int subtask);
  void add_edges(TaskParts& task, const PlanChain& chain, int subtask);
  std::unique_ptr<Operator> make_operator(int node) const;
  Output make_output(const PlanChain& chain, std::size_t index) const;
  OperatorContext make_context(int node, const PlanChain& chain, int subtask) const;

  AttemptParts parts_;
  std::size_t cold_tiers_ = 0;
  std::size_t cold_bytes_ = 0;  // of the state's share, for the caches of all tiers
  std::vector<EdgeChannels> channels_;  // one per edge of the plan
  std::vector<std::unique_ptr<Task>> tasks_;
  std::vector<Task*> task_list_;
};

}  // namespace levada
