// ColdFlights: a table's entries on their way into its cold tier, in runs: the one that is being gathered, and those
// that the queue has. Whose entries they are, and what becomes of them in the table, is ColdSide's to know.
//
// Threads:  of the table's task.
// Failures: what the tier throws, from take_done() and finish_first().
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "levada/bytes.h"
#include "levada/cold_tier.h"
#include "levada/detail/cold_queue.h"
#include "levada/memory.h"

namespace levada::detail {

class ColdFlights {
 public:
  /// Entries of one space in a run.
  struct Part {
    std::int64_t space = 0;
    std::uint64_t id = 0;
    std::size_t first = 0, last = 0;  ///< of the run's
  };
  /// A change of the tier; without a run it only removes ranges.
  struct Flight {
    std::shared_ptr<const ColdRun> run{};
    std::vector<Part> parts{};
    std::vector<const void*> groups{};
    bool stays = false;  ///< its entries stay in the table
    std::size_t charged = 0;
    ColdQueue::Ticket ticket{};
  };

  ColdFlights(ColdQueue& queue, MemoryShare& share) : queue_(queue), share_(share) {}
  ~ColdFlights();
  ColdFlights(const ColdFlights&) = delete;
  ColdFlights& operator=(const ColdFlights&) = delete;

  /// The run for an entry of that space and group; those that stay in the table are in runs of their own. True in
  /// `fresh`: it is the first entry of the space in a row. Then its bytes are written, and end() is called.
  ColdRun& begin(std::int64_t space, std::uint64_t id, const void* group, bool stays, bool& fresh);
  void end() { parts_.back().last = run_->entries().size(); }
  std::size_t gathered_bytes() const { return run_ ? run_->bytes().size() : 0; }

  /// Hands over what is gathered.
  void submit();
  void remove_ranges(std::vector<std::pair<Bytes, Bytes>> ranges);

  bool none_under_way() const { return flights_.empty(); }
  /// An entry of the group is gathered or under way.
  bool has(const void* group) const;
  /// The oldest flight, when it has arrived.
  std::optional<Flight> take_done();
  /// Waits until the oldest one has arrived. REQUIRES: !none_under_way().
  void finish_first() { ColdQueue::finish(flights_.front().ticket); }

 private:
  ColdQueue& queue_;
  MemoryShare& share_;
  std::vector<Flight> flights_;  // oldest first
  // What is being gathered.
  std::shared_ptr<ColdRun> run_;
  std::vector<Part> parts_;
  std::vector<const void*> groups_;
  bool stays_ = false;
};

}  // namespace levada::detail
