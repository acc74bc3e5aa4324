#include "exchange/input_gate.h"

#include <utility>

#include "levada/assert.h"

namespace levada {

InputGate::InputGate(std::vector<Port> ports)
    : ports_(std::move(ports)),
      ended_(ports_.size(), false),
      aligner_(ports_.size()),
      merger_(ports_.size()) {}

GateEvent InputGate::poll() {
  if (time_after_batch_) {
    const InputTime time = *time_after_batch_;
    time_after_batch_.reset();
    if (auto event = time_event(time_port_, time)) return std::move(*event);
  }
  for (std::size_t tried = 0; tried < ports_.size();) {
    const std::size_t port = next_port_;
    if (aligner_.blocked(port) || ports_[port].channel->front() == nullptr) {
      next_port_ = (next_port_ + 1) % ports_.size();
      ++tried;
      continue;
    }
    // One element of a channel, then the next channel: none is starved.
    next_port_ = (next_port_ + 1) % ports_.size();
    tried = 0;
    if (auto event = take(port)) return std::move(*event);
  }
  return {};
}

bool InputGate::ready() noexcept {
  if (time_after_batch_) return true;
  for (std::size_t port = 0; port < ports_.size(); ++port) {
    if (!aligner_.blocked(port) && ports_[port].channel->front() != nullptr) return true;
  }
  return false;
}

// Takes one element; nothing when it changes nothing for the task.
std::optional<GateEvent> InputGate::take(std::size_t port) {
  Channel& channel = *ports_[port].channel;
  Element element = std::move(*channel.front());
  channel.pop();
  switch (element.kind) {
    case Element::Kind::kBatch: {
      if (element.has_time) {
        time_after_batch_ = element.time;
        time_port_ = port;
      }
      GateEvent event;
      event.kind = GateEvent::Kind::kBatch;
      event.input = ports_[port].input;
      event.channel = &channel;
      event.batch = std::move(element.batch);
      return event;
    }
    case Element::Kind::kTime:
      return time_event(port, element.time);
    case Element::Kind::kBarrier:
      if (auto aligned = aligner_.deliver(port, element.barrier)) {
        GateEvent event;
        event.kind = GateEvent::Kind::kBarrier;
        event.barrier = *aligned;
        return event;
      }
      return std::nullopt;
    case Element::Kind::kEnd:
      return end_event(port);
  }
  return std::nullopt;
}

std::optional<GateEvent> InputGate::time_event(std::size_t port, const InputTime& time) {
  if (!merger_.update(port, time)) return std::nullopt;
  GateEvent event;
  event.kind = GateEvent::Kind::kTime;
  event.time = merger_.merged();
  return event;
}

// An input ends when all its channels have.
std::optional<GateEvent> InputGate::end_event(std::size_t port) {
  LEVADA_ASSERT(!ended_[port], "a channel ends once");
  ended_[port] = true;
  for (std::size_t i = 0; i < ports_.size(); ++i) {
    if (ports_[i].input == ports_[port].input && !ended_[i]) return std::nullopt;
  }
  GateEvent event;
  event.kind = GateEvent::Kind::kEnd;
  event.input = ports_[port].input;
  return event;
}

}  // namespace levada
