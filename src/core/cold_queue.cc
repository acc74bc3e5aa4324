#include "levada/detail/cold_queue.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <exception>
#include <map>
#include <numeric>
#include <utility>

#include "levada/error.h"
#include "levada/serde.h"

#include "base/mutex.h"

namespace levada {

std::vector<std::uint32_t> ColdRun::sorted() const {
  std::vector<std::uint32_t> order(entries_.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [this](std::uint32_t a, std::uint32_t b) {
    return key(entries_[a]) < key(entries_[b]);
  });
  return order;
}

}  // namespace levada

namespace levada::detail {

struct ColdQueue::Ticket_ {
  Work work;
  bool changes = true;
  std::weak_ptr<State> queue;
  std::atomic<bool> done{false};
  std::exception_ptr error;  // written before `done`
};

struct ColdQueue::State {
  Mutex running;  // held by who runs an entry: one at a time, in order
  std::unique_ptr<ColdTier> tier;
  std::exception_ptr broken LEVADA_GUARDED_BY(running);
  bool closed LEVADA_GUARDED_BY(running) = false;
  Mutex mutex;
  std::deque<Ticket> waiting LEVADA_GUARDED_BY(mutex);
  Background background;
  std::map<std::uint32_t, std::string> tables;

  Ticket take() {
    MutexLock lock(mutex);
    if (waiting.empty()) return nullptr;
    Ticket next = std::move(waiting.front());
    waiting.pop_front();
    return next;
  }

  // Runs the entry that is first; false when there is none.
  bool run_next() LEVADA_EXCLUDES(running) {
    MutexLock lock(running);
    const Ticket next = closed ? nullptr : take();
    if (next == nullptr) return false;
    next->error = broken;
    if (!broken) {
      try {
        next->work(*tier);
      } catch (...) {
        next->error = std::current_exception();
        if (next->changes) broken = next->error;
      }
    }
    next->work = nullptr;
    next->done.store(true, std::memory_order_release);
    return true;
  }
};

ColdQueue::ColdQueue(std::unique_ptr<ColdTier> tier, Background background)
    : state_(std::make_shared<State>()) {
  state_->tier = std::move(tier);
  state_->background = std::move(background);
}

ColdQueue::~ColdQueue() {
  MutexLock lock(state_->running);
  state_->closed = true;
  while (state_->take()) {
  }
  state_->tier.reset();
}

ColdTier& ColdQueue::tier() noexcept { return *state_->tier; }

ColdQueue::Ticket ColdQueue::submit(Work work, bool changes) {
  auto ticket = std::make_shared<Ticket_>();
  ticket->work = std::move(work);
  ticket->changes = changes;
  ticket->queue = state_;
  {
    MutexLock lock(state_->mutex);
    state_->waiting.push_back(ticket);
  }
  state_->background([state = std::weak_ptr<State>(state_)] {
    if (const auto alive = state.lock()) alive->run_next();
  });
  return ticket;
}

bool ColdQueue::done(const Ticket& ticket) {
  if (!ticket->done.load(std::memory_order_acquire)) return false;
  if (ticket->error) std::rethrow_exception(ticket->error);
  return true;
}

void ColdQueue::finish(const Ticket& ticket) {
  while (!done(ticket)) {
    const auto queue = ticket->queue.lock();
    // The entry may be run by another thread just now: then run_next() waits for it, and finds the next.
    if (!queue || (!queue->run_next() && !ticket->done.load(std::memory_order_acquire))) {
      throw StateError("the state's cold tier has been closed");
    }
  }
}

std::uint32_t ColdQueue::table_number(std::string_view node, std::string_view name) {
  Bytes text;
  put_string(text, node);
  put_string(text, name);
  return static_cast<std::uint32_t>(hash_bytes(text.data(), text.size()) >> 32);
}

std::uint32_t ColdQueue::add_table(std::string_view node, std::string_view name) {
  const std::uint32_t number = table_number(node, name);
  std::string full = std::string(node) + "." + std::string(name);
  const auto [at, fresh] = state_->tables.emplace(number, full);
  if (!fresh) {
    throw StateError("states '" + at->second + "' and '" + full +
                     "' have one number in the cold tier; give one of their nodes another uid");
  }
  return number;
}

namespace {

template <class N>
void put_ordered(Bytes& out, N number) {
  for (std::size_t i = sizeof number; i-- > 0;) out += static_cast<char>(number >> (8 * i) & 0xff);
}

template <class N>
N ordered(std::string_view bytes) {
  N number = 0;
  for (const char byte : bytes.substr(0, sizeof(N))) number = static_cast<N>(number << 8 | static_cast<unsigned char>(byte));
  return number;
}

constexpr std::uint64_t kSignBit = std::uint64_t{1} << 63;

}  // namespace

void put_cold_prefix(Bytes& out, std::uint32_t group, std::uint32_t table, std::int64_t name_space) {
  put_ordered(out, static_cast<std::uint16_t>(group));
  put_ordered(out, table);
  put_ordered(out, static_cast<std::uint64_t>(name_space) ^ kSignBit);
}

std::uint32_t cold_table(std::string_view key) { return ordered<std::uint32_t>(key.substr(2)); }

std::int64_t cold_name_space(std::string_view key) {
  return static_cast<std::int64_t>(ordered<std::uint64_t>(key.substr(2 + 4)) ^ kSignBit);
}

Bytes cold_prefix_end(std::string_view prefix) {
  Bytes end(prefix);
  while (end.back() == static_cast<char>(0xff)) end.pop_back();
  ++end.back();
  return end;
}

}  // namespace levada::detail
