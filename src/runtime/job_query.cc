// Live queries: JobControl's part of Job::query.
#include <algorithm>
#include <memory>
#include <utility>

#include "levada/detail/key_groups.h"
#include "levada/error.h"
#include "runtime/job_control.h"
#include "runtime/state_query.h"

namespace levada::detail {

void JobControl::check_query(const std::string& uid, const StateSpec& wanted) const {
  const auto& nodes = plan_->graph->nodes();
  const auto node = std::find_if(nodes.begin(), nodes.end(),
                                 [&](const Transformation& each) { return each.uid == uid; });
  if (node == nodes.end()) throw StateError("query: the job '" + name_ + "' has no step with uid '" + uid + "'");
  std::string keyed;
  for (const StateSpec& spec : node->states) {
    if (!spec.keyed) continue;
    keyed += (keyed.empty() ? "'" : ", '") + spec.name + "'";
    if (spec.name != wanted.name) continue;
    if (spec.schema == wanted.schema) return;
    throw StateError("query: state '" + wanted.name + "' of '" + uid + "' has schema " + spec.schema +
                     ", but it is asked for as " + wanted.schema);
  }
  throw StateError("query: '" + uid + "' has no keyed state '" + wanted.name + "'; it has " +
                   (keyed.empty() ? "none" : keyed));
}

std::optional<Bytes> JobControl::query(const std::string& uid, const StateSpec& state, std::uint64_t hash,
                                       const Bytes& key, std::int64_t name_space) {
  for (;;) {
    StateQueryCall call{uid, state.name, name_space, hash, key, {}};
    std::future<std::optional<Bytes>> answer = call.answer.get_future();
    post_query(std::make_shared<StateQueryCall>(std::move(call)));
    try {
      return answer.get();
    } catch (const std::future_error&) {
      // The attempt is over: the next one is asked, or it turns out that there is none.
    }
  }
}

// Waits until there are tasks. While the lock is held they are not destroyed.
void JobControl::post_query(std::shared_ptr<StateQueryCall> call) {
  MutexLock lock(mutex_);
  while (visible_attempt_ == nullptr && !end_published_) attempt_changed_.wait(mutex_);
  if (end_published_) {
    throw JobError(JobErrorCode::kCancelled, call->state_id, -1,
                   "query: the job '" + name_ + "' has ended; its state is in its checkpoints");
  }
  const auto groups = static_cast<std::uint32_t>(plan_->max_parallelism);
  const std::uint32_t group = key_group_of(call->hash, groups);
  for (Task* task : visible_attempt_->tasks()) {
    const PlanChain& chain = plan_->chains[static_cast<std::size_t>(task->chain_id())];
    const bool has_node = std::any_of(chain.nodes.begin(), chain.nodes.end(), [&](int node) {
      return plan_->graph->node(node).uid == call->state_id;
    });
    if (!has_node) continue;
    const auto parallelism = static_cast<std::uint32_t>(chain.parallelism);
    if (task->subtask() != static_cast<int>(key_group_owner(group, groups, parallelism))) continue;
    task->post({.kind = TaskMail::Kind::kQuery, .barrier = {}, .query = std::move(call)});
    return;
  }
}

std::optional<Bytes> query_state(JobControl& control, const std::string& uid, const StateSpec& state,
                                 std::uint64_t hash, const Bytes& key, std::int64_t name_space) {
  return control.query(uid, state, hash, key, name_space);
}

}  // namespace levada::detail
