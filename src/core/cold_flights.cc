#include "levada/detail/cold_flights.h"

#include <algorithm>

namespace levada::detail {

ColdFlights::~ColdFlights() {
  for (const Flight& flight : flights_) share_.release(flight.charged);
}

ColdRun& ColdFlights::begin(std::int64_t space, std::uint64_t id, const void* group, bool stays, bool& fresh) {
  if (stays_ != stays) submit();
  stays_ = stays;
  if (!run_) run_ = std::make_shared<ColdRun>();
  fresh = parts_.empty() || parts_.back().id != id;
  if (fresh) parts_.push_back({space, id, run_->entries().size(), 0});
  if (groups_.empty() || groups_.back() != group) groups_.push_back(group);
  return *run_;
}

void ColdFlights::submit() {
  if (!run_) return;
  std::shared_ptr<const ColdRun> run = std::exchange(run_, nullptr);
  const std::size_t bytes = run->memory_bytes();
  share_.acquire(bytes);
  Flight& flight = flights_.emplace_back();
  flight.run = run;
  flight.parts = std::exchange(parts_, {});
  flight.groups = std::exchange(groups_, {});
  flight.stays = stays_;
  flight.charged = bytes;
  flight.ticket = queue_.submit([run = std::move(run)](ColdTier& tier) { tier.take_in(*run); });
}

void ColdFlights::remove_ranges(std::vector<std::pair<Bytes, Bytes>> ranges) {
  submit();
  Flight& flight = flights_.emplace_back();
  flight.ticket = queue_.submit([ranges = std::move(ranges)](ColdTier& tier) { tier.remove_ranges(ranges); });
}

bool ColdFlights::has(const void* group) const {
  const auto among = [&](const std::vector<const void*>& groups) {
    return std::find(groups.begin(), groups.end(), group) != groups.end();
  };
  return among(groups_) || std::any_of(flights_.begin(), flights_.end(),
                                       [&](const Flight& flight) { return among(flight.groups); });
}

std::optional<ColdFlights::Flight> ColdFlights::take_done() {
  if (flights_.empty() || !ColdQueue::done(flights_.front().ticket)) return std::nullopt;
  Flight flight = std::move(flights_.front());
  flights_.erase(flights_.begin());
  share_.release(flight.charged);
  return flight;
}

}  // namespace levada::detail
