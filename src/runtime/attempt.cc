#include "runtime/attempt.h"

#include <utility>

#include "base/percent_encoding.h"
#include "base/planted_bug.h"
#include "levada/detail/key_groups.h"
#include "operators/epoch_sink_operator.h"
#include "runtime/executor.h"

namespace levada {

Channel* Attempt::EdgeChannels::at(int from, int to) const {
  const int index = forward ? from : from * to_parallelism + to;
  return channels[static_cast<std::size_t>(index)].get();
}

Attempt::Attempt(AttemptParts parts) : parts_(std::move(parts)) {
  make_channels();
  reserve_cold_memory();
  for (const PlanChain& chain : parts_.plan->chains) {
    for (int subtask = 0; subtask < chain.parallelism; ++subtask) make_task(chain, subtask);
  }
  parts_.restored.reset();  // the tasks have it
  for (const auto& task : tasks_) task_list_.push_back(task.get());
  // Channels know their tasks by now: first subtasks of a chain are found by counting.
  std::vector<std::size_t> first(parts_.plan->chains.size());
  for (std::size_t i = 0, next = 0; i < first.size(); ++i) {
    first[i] = next;
    next += static_cast<std::size_t>(parts_.plan->chains[i].parallelism);
  }
  for (const PlanEdge& edge : parts_.plan->edges) {
    const EdgeChannels& channels = channels_[static_cast<std::size_t>(edge.id)];
    const std::size_t from = first[static_cast<std::size_t>(edge.from_chain)];
    const std::size_t to = first[static_cast<std::size_t>(edge.to_chain)];
    for (std::size_t i = 0; i < channels.channels.size(); ++i) {
      const std::size_t to_count = static_cast<std::size_t>(channels.to_parallelism);
      const std::size_t producer = channels.forward ? i : i / to_count;
      const std::size_t consumer = channels.forward ? i : i % to_count;
      channels.channels[i]->connect(task_list_[to + consumer], task_list_[from + producer]);
    }
  }
}

Attempt::~Attempt() {
  tasks_.clear();
  parts_.memory->state().release(cold_bytes_);
}

void Attempt::reserve_cold_memory() {
  if (!parts_.options->state.cold) return;
  for (const PlanChain& chain : parts_.plan->chains) {
    if (keeps_keyed_state(chain)) cold_tiers_ += static_cast<std::size_t>(chain.parallelism);
  }
  if (cold_tiers_ == 0) return;
  MemoryShare& share = parts_.memory->state();
  cold_bytes_ = share.limit_bytes() / 16 * parts_.options->state.cold->cache_sixteenths();
  share.acquire(cold_bytes_);
  parts_.options->state.cold->clear(cold_job());
}

std::string Attempt::cold_job() const { return percent_encode(parts_.job.empty() ? "job" : parts_.job); }

bool Attempt::keeps_keyed_state(const PlanChain& chain) const {
  for (const int id : chain.nodes) {
    for (const auto& input : parts_.plan->graph->node(id).inputs) {
      if (input.exchange.hasher) return true;
    }
  }
  return false;
}

void Attempt::add_cold(TaskParts& task, const PlanChain& chain, int subtask) {
  if (cold_tiers_ == 0 || !keeps_keyed_state(chain)) return;
  task.cold_backend = parts_.options->state.cold;
  task.cold_place.job = cold_job();
  task.cold_place.name = std::to_string(chain.id) + "-" + std::to_string(subtask);
  task.cold_place.memory_bytes = cold_bytes_ / cold_tiers_;
  task.cold_place.log = [log = parts_.log, name = task.name](LogLevel level, std::string_view message) {
    log->write(level, name + ": " + std::string(message));
  };
  if (!parts_.make_cold_writer) return;
  task.make_cold_writer = [make = parts_.make_cold_writer, chain = chain.id, subtask,
                           known = std::make_shared<KnownColdFiles>()](CheckpointId id) {
    return make(id, chain, subtask, known);
  };
}

void Attempt::make_channels() {
  const auto batch_rows = static_cast<std::size_t>(parts_.options->batch_rows);
  for (const PlanEdge& edge : parts_.plan->edges) {
    const int from = parts_.plan->chains[static_cast<std::size_t>(edge.from_chain)].parallelism;
    const int to = parts_.plan->chains[static_cast<std::size_t>(edge.to_chain)].parallelism;
    EdgeChannels channels;
    channels.to_parallelism = to;
    channels.forward = edge.exchange.kind == ExchangeKind::kForward;
    const int count = channels.forward ? from : from * to;
    for (int i = 0; i < count; ++i) {
      channels.channels.push_back(
          std::make_unique<Channel>(*edge.type, batch_rows, parts_.memory->channels()));
    }
    channels_.push_back(std::move(channels));
  }
}

void Attempt::make_task(const PlanChain& chain, int subtask) {
  TaskParts task;
  task.id = static_cast<int>(tasks_.size());
  task.chain = chain.id;
  task.subtask = subtask;
  task.may_block = chain.may_block;
  for (const int node : chain.nodes) {
    if (!task.name.empty()) task.name += " -> ";
    task.name += parts_.plan->graph->node(node).name;
  }
  task.linger = parts_.options->linger;
  task.clock = parts_.clock;
  task.log = parts_.log;
  task.memory = parts_.memory;
  task.background = parts_.background;
  task.listener = parts_.listener;
  task.restored = parts_.restored;
  if (parts_.make_writer) {
    task.make_writer = [make = parts_.make_writer, chain = chain.id, subtask](CheckpointId id) {
      return make(id, chain, subtask);
    };
  }
  add_cold(task, chain, subtask);
  if (parts_.plan->is_source(chain)) add_source(task, chain, subtask);
  add_stages(task, chain, subtask);
  add_edges(task, chain, subtask);
  tasks_.push_back(std::make_unique<Task>(std::move(task)));
  if (LEVADA_PLANTED("barrier.row_in_old_epoch") && tasks_.back()->aligner() != nullptr) {
    tasks_.back()->aligner()->set_alignment(false);
  }
}

void Attempt::add_source(TaskParts& task, const PlanChain& chain, int subtask) {
  const int id = chain.nodes.front();
  const Transformation& node = parts_.plan->graph->node(id);
  const std::vector<SplitState>& all = parts_.splits.at(id);
  std::vector<SplitState> mine;
  for (std::size_t i = static_cast<std::size_t>(subtask); i < all.size();
       i += static_cast<std::size_t>(chain.parallelism)) {
    mine.push_back(all[i]);
  }
  task.source =
      std::make_unique<SourceOperator>(node.source->make_reader(), node.watermarks, std::move(mine));
  task.source_out = std::make_unique<Output>(make_output(chain, 0));
  task.source_counters = std::make_unique<OperatorCounters>();
  task.source_context = make_context(id, chain, subtask);
  task.source_context.counters = task.source_counters.get();
  task.source_state_id = state_id(*parts_.plan->graph, id);
}

void Attempt::add_stages(TaskParts& task, const PlanChain& chain, int subtask) {
  for (std::size_t i = task.source ? 1 : 0; i < chain.nodes.size(); ++i) {
    const int id = chain.nodes[i];
    auto hasher = chain.hashers[i] ? chain.hashers[i]->clone_hasher() : nullptr;
    auto stage = std::make_unique<ChainStage>(make_operator(id), std::move(hasher),
                                              make_output(chain, i),
                                              state_id(*parts_.plan->graph, id));
    stage->context = make_context(id, chain, subtask);
    stage->context.counters = &stage->counters;
    task.stages.push_back(std::move(stage));
  }
}

std::unique_ptr<Operator> Attempt::make_operator(int node) const {
  EpochSink* const sink = parts_.sinks != nullptr ? parts_.sinks->find(node) : nullptr;
  return sink != nullptr ? make_epoch_sink_operator(*sink, *parts_.background)
                         : parts_.plan->graph->node(node).make_operator();
}

Output Attempt::make_output(const PlanChain& chain, std::size_t index) const {
  const Transformation& node = parts_.plan->graph->node(chain.nodes[index]);
  const auto batch_rows = static_cast<std::size_t>(parts_.options->batch_rows);
  if (node.outputs.empty()) return Output(nullptr, batch_rows);
  Output output(node.outputs.front().type, batch_rows);
  for (std::size_t i = 1; i < node.outputs.size(); ++i) {
    output.sides().emplace_back(node.outputs[i].type, batch_rows, node.outputs[i].tag);
  }
  return output;
}

void Attempt::add_edges(TaskParts& task, const PlanChain& chain, int subtask) {
  for (const int id : chain.out_edges) {
    const PlanEdge& edge = parts_.plan->edges[static_cast<std::size_t>(id)];
    const EdgeChannels& channels = channels_[static_cast<std::size_t>(id)];
    const int workers = worker_count(parts_.options->threads, parts_.options->parallelism);
    const bool own_thread =
        chain.may_block || parts_.plan->chains[static_cast<std::size_t>(edge.to_chain)].may_block;
    std::vector<OutputEdge::End> ends;
    const int count = channels.forward ? 1 : channels.to_parallelism;
    for (int to = 0; to < count; ++to) {
      const bool far = own_thread || worker_of(to, workers) != worker_of(subtask, workers);
      ends.push_back({channels.at(subtask, to), far});
    }
    task.edges.push_back(std::make_unique<OutputEdge>(edge, parts_.plan->max_parallelism, ends,
                                                      static_cast<std::size_t>(subtask)));
  }
  std::size_t inputs = 1;
  for (const int id : chain.in_edges) {
    const PlanEdge& edge = parts_.plan->edges[static_cast<std::size_t>(id)];
    const EdgeChannels& channels = channels_[static_cast<std::size_t>(id)];
    const int from = parts_.plan->chains[static_cast<std::size_t>(edge.from_chain)].parallelism;
    for (int i = channels.forward ? subtask : 0; i < (channels.forward ? subtask + 1 : from); ++i) {
      task.ports.push_back({channels.at(i, subtask), edge.input});
    }
    inputs = std::max(inputs, edge.input + 1);
  }
  task.inputs = inputs;
}

OperatorContext Attempt::make_context(int node, const PlanChain& chain, int subtask) const {
  const Transformation& transformation = parts_.plan->graph->node(node);
  OperatorContext context;
  context.node = transformation.uid.empty() ? transformation.name : transformation.uid;
  context.subtask = subtask;
  context.parallelism = chain.parallelism;
  context.max_parallelism = parts_.plan->max_parallelism;
  context.key_groups = key_group_range(static_cast<std::uint32_t>(subtask),
                                       static_cast<std::uint32_t>(context.max_parallelism),
                                       static_cast<std::uint32_t>(chain.parallelism));
  context.batch_rows = static_cast<std::size_t>(parts_.options->batch_rows);
  context.checkpoints = static_cast<bool>(parts_.make_writer);
  context.restored_checkpoint = parts_.restored ? parts_.restored->manifest().id : 0;
  context.clock = parts_.clock;
  context.memory = parts_.memory;
  context.state_id = state_id(*parts_.plan->graph, node);
  context.evicting = parts_.options->state.cold != nullptr;
  context.log = [log = parts_.log, prefix = context.node + "[" + std::to_string(subtask) + "]: "](
                    LogLevel level, std::string_view message) {
    log->write(level, prefix + std::string(message));
  };
  return context;
}

}  // namespace levada
