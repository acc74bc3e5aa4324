#include "exchange/output_edge.h"

#include <algorithm>
#include <utility>

#include "levada/assert.h"
#include "levada/detail/key_groups.h"

namespace levada {

OutputEdge::OutputEdge(const PlanEdge& edge, int max_parallelism, std::vector<Channel*> channels,
                       std::size_t first_target)
    : kind_(edge.exchange.kind),
      output_(edge.output),
      max_parallelism_(static_cast<std::uint32_t>(max_parallelism)),
      next_target_(first_target % channels.size()) {
  for (Channel* channel : channels) targets_.push_back({.channel = channel});
  if (edge.exchange.hasher) hasher_ = edge.exchange.hasher->clone_hasher();
  outs_.resize(targets_.size());
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

void OutputEdge::find_owners(Batch& batch) {
  hasher_->hash(batch);
  if (owners_.size() < batch.size()) owners_.resize(batch.capacity());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    owners_[i] = owner_of_group_[key_group_of(batch.hashes()[i], max_parallelism_)];
  }
}

bool OutputEdge::write_hashed(BatchPtr& batch, std::size_t& row) {
  if (row == 0) {
    batch->set_has_hashes(false);  // hashes of an earlier key do not count
    find_owners(*batch);
  }
  while (row < batch->size()) {
    for (std::size_t i = 0; i < targets_.size(); ++i) {
      Target& target = targets_[i];
      const bool blocked = !target.batch || target.batch->full();
      if (blocked && !make_room(target)) return false;
      target.batch->set_has_hashes(true);
      outs_[i] = target.batch.get();
    }
    const std::span<const std::uint16_t> owners(owners_.data() + row, batch->size() - row);
    row += batch->type().scatter(*batch, row, owners, outs_.data());
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
  for (Target& target : targets_) {
    if (target.batch && !target.batch->empty() && !send(target)) return false;
    if (target.sent == time_) continue;
    if (!target.channel->has_room()) return false;
    Element element;
    element.kind = Element::Kind::kTime;
    element.time = target.sent = time_;
    target.channel->push(std::move(element));
  }
  pending_ = false;
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
