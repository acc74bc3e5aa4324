#include "exchange/output_edge.h"

#include <algorithm>
#include <utility>

#include "levada/assert.h"
#include "levada/detail/key_groups.h"

namespace levada {

OutputEdge::OutputEdge(const PlanEdge& edge, int max_parallelism, const std::vector<End>& ends,
                       std::size_t first_target)
    : kind_(edge.exchange.kind),
      output_(edge.output),
      max_parallelism_(static_cast<std::uint32_t>(max_parallelism)),
      next_target_(first_target % ends.size()) {
  for (const End& end : ends) targets_.push_back({.channel = end.channel, .far = end.far});
  if (edge.exchange.hasher) hasher_ = edge.exchange.hasher->clone_hasher();
  // A table instead of a division for each row.
  for (std::uint32_t group = 0; kind_ == ExchangeKind::kHash && group < max_parallelism_; ++group) {
    owner_of_group_.push_back(static_cast<std::uint16_t>(
        key_group_owner(group, max_parallelism_, static_cast<std::uint32_t>(targets_.size()))));
  }
}

bool OutputEdge::write(BatchPtr& batch, std::size_t& row) {
  switch (kind_) {
    case ExchangeKind::kHash:
      return write_hashed(batch, row);
    case ExchangeKind::kBroadcast:
      return write_broadcast(batch, row);
    case ExchangeKind::kForward:
      return write_whole(targets_.front(), batch, row);
    case ExchangeKind::kRebalance:
      if (!write_whole(targets_[next_target_], batch, row)) return false;
      next_target_ = (next_target_ + 1) % targets_.size();
      return true;
  }
  return true;
}

// Rows that fit behind those waiting are moved; else what waits leaves and the batch itself follows.
bool OutputEdge::write_whole(Target& target, BatchPtr& batch, std::size_t& row) {
  if (row == 0 && (!target.batch || target.batch->room() < batch->size())) {
    if (!make_room(target)) return false;
    if (target.batch->capacity() == batch->capacity()) {
      target.batch.swap(batch);
      pending_ = true;
      row = batch->size();
      if (target.batch->full()) send(target);  // else it leaves with the next rows
      return true;
    }
  }
  return append(target, *batch, row, false);
}

bool OutputEdge::append(Target& target, Batch& from, std::size_t& row, bool copy) {
  while (row < from.size()) {
    if (!target.batch || target.batch->full()) {
      if (!make_room(target)) return false;
    }
    Batch& to = *target.batch;
    const std::size_t count = std::min(from.size() - row, to.room());
    const auto move = copy ? nullptr : from.type().move;
    if (move != nullptr) {
      move(from.row(row), to.row(to.size()), count);
    } else {
      from.type().copy(from.row(row), to.row(to.size()), count);
    }
    std::copy_n(from.times() + row, count, to.times() + to.size());
    if (from.has_hashes()) std::copy_n(from.hashes() + row, count, to.hashes() + to.size());
    to.set_has_hashes(from.has_hashes());
    to.set_size(to.size() + count);
    pending_ = true;
    row += count;
  }
  return true;
}

// Makes `target.batch` an empty batch, sending the rows that wait in it.
bool OutputEdge::make_room(Target& target) {
  if (target.batch && target.batch->empty()) return true;
  if (target.batch && !send(target)) return false;
  if (!target.batch) target.batch = target.channel->take_empty();
  return target.batch != nullptr;
}

// Sends the batch being filled, and the time after it.
bool OutputEdge::send(Target& target) {
  if (!target.channel->has_room()) return false;
  Element element;
  element.kind = Element::Kind::kBatch;
  element.batch = std::move(target.batch);
  if (target.sent != time_) {
    element.has_time = true;
    element.time = target.sent = time_;
  }
  target.channel->push(std::move(element));
  return true;
}

// Lists the rows of each target.
void OutputEdge::split(Batch& batch) {
  batch.set_has_hashes(false);  // hashes of an earlier key do not count
  hasher_->hash(batch);
  rows_of_targets_.resize(targets_.size() * batch.capacity());
  for (Target& target : targets_) target.count = target.taken = 0;
  const std::uint64_t* const hashes = batch.hashes();
  const std::uint16_t* const owners = owner_of_group_.data();
  std::uint16_t* const rows = rows_of_targets_.data();
  Target* const targets = targets_.data();
  const std::size_t size = batch.size(), most = batch.capacity();
  const std::uint32_t groups = max_parallelism_;
  for (std::size_t row = 0; row < size; ++row) {
    const std::size_t owner = owners[key_group_of(hashes[row], groups)];
    rows[owner * most + targets[owner].count++] = static_cast<std::uint16_t>(row);
  }
}

// Every target has its own progress: rows do not wait for those of one that is full.
bool OutputEdge::write_hashed(BatchPtr& batch, std::size_t& row) {
  LEVADA_DEBUG_ASSERT(row == 0, "a batch is split as a whole");
  if (!std::exchange(split_, true)) split(*batch);
  bool all = true;
  for (std::size_t i = 0; i < targets_.size(); ++i) {
    all &= take_rows(targets_[i], rows_of_targets_.data() + i * batch->capacity(), *batch);
  }
  if (!all) return false;
  split_ = false;
  row = batch->size();
  return true;
}

bool OutputEdge::take_rows(Target& target, const std::uint16_t* rows, Batch& from) {
  while (target.taken < target.count) {
    if ((!target.batch || target.batch->full()) && !make_room(target)) return false;
    const std::size_t count = std::min(target.count - target.taken, target.batch->room());
    target.batch->take(from, {rows + target.taken, count}, target.far);
    target.batch->set_has_hashes(true);
    target.taken += count;
    pending_ = true;
  }
  return true;
}

// Every target has its own progress, so that a full one does not make the others copy rows twice.
bool OutputEdge::write_broadcast(BatchPtr& batch, std::size_t& row) {
  std::size_t least = batch->size();
  for (Target& target : targets_) {
    target.copied = std::max(target.copied, row);
    append(target, *batch, target.copied, true);
    least = std::min(least, target.copied);
  }
  row = least;
  if (row < batch->size()) return false;
  for (Target& target : targets_) target.copied = 0;
  return true;
}

void OutputEdge::set_time(const InputTime& time) {
  time_ = time;
  pending_ = true;
}

bool OutputEdge::flush() {
  if (!pending_) return true;
  bool all = true;
  for (Target& target : targets_) all &= flush(target);
  pending_ = !all;
  return all;
}

bool OutputEdge::flush(Target& target) {
  if (target.batch && !target.batch->empty() && !send(target)) return false;
  if (target.sent == time_) return true;
  if (!target.channel->has_room()) return false;
  Element element;
  element.kind = Element::Kind::kTime;
  element.time = target.sent = time_;
  target.channel->push(std::move(element));
  return true;
}

bool OutputEdge::control_room() const noexcept {
  return std::all_of(targets_.begin(), targets_.end(),
                     [](const Target& target) { return target.channel->has_control_room(); });
}

void OutputEdge::push_control(Element::Kind kind, const Barrier& barrier) {
  LEVADA_ASSERT(!pending_, "a control message follows all rows before it");
  for (Target& target : targets_) {
    Element element;
    element.kind = kind;
    element.barrier = barrier;
    target.channel->push(std::move(element));
  }
}

void OutputEdge::await_room() noexcept {
  for (Target& target : targets_) target.channel->await_room();
}

}  // namespace levada
