// ColdQueue: what the tables of a subtask share of its cold tier: the changes on their way into it, in order,
// and the keys under which it holds entries:
//
//   key := key_group:u16 table:u32 name_space:i64 key       the numbers such that bytes order like them, the key
//                                                           as in blocks
//
// A change is run by the background queue, or by the task itself when it cannot go on without it: so a
// simulated job, where nothing runs meanwhile, waits for nothing. A checkpoint of the tier is an entry of the
// same queue: it has what was submitted before it, and nothing else.
//
// Threads:  submit() and tier() on the task's thread; finish() on any.
// Failures: a change that fails fails all that follow: the error comes out of done() and finish().
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "levada/bytes.h"
#include "levada/cold_tier.h"

namespace levada::detail {

class ColdQueue {
 public:
  using Work = std::function<void(ColdTier&)>;
  struct State;
  struct Ticket_;
  using Ticket = std::shared_ptr<Ticket_>;
  /// Has a function run later, in the background.
  using Background = std::function<void(std::function<void()>)>;

  ColdQueue(std::unique_ptr<ColdTier> tier, Background background);
  /// Gives up what was not run and closes the tier.
  ~ColdQueue();
  ColdQueue(const ColdQueue&) = delete;
  ColdQueue& operator=(const ColdQueue&) = delete;

  ColdTier& tier() noexcept;
  /// `changes`: when it fails the tier is not what it should be.
  Ticket submit(Work work, bool changes = true);
  /// Whether it has been run; throws when it failed.
  static bool done(const Ticket& ticket);
  /// Runs it, and all before it, unless they were; throws when it failed.
  static void finish(const Ticket& ticket);

  /// The number under which a table's keys are; StateError when two tables of the subtask would have one.
  std::uint32_t add_table(std::string_view node, std::string_view name);
  static std::uint32_t table_number(std::string_view node, std::string_view name);

 private:
  std::shared_ptr<State> state_;
};

constexpr std::size_t kColdPrefixBytes = 2 + 4 + 8;
/// Appends what keys of that group, table and namespace begin with.
void put_cold_prefix(Bytes& out, std::uint32_t group, std::uint32_t table, std::int64_t name_space);
/// The table in a key.
std::uint32_t cold_table(std::string_view key);
/// The namespace in a key.
std::int64_t cold_name_space(std::string_view key);
/// The least bytes greater than all that begin with `prefix`. REQUIRES: there are such.
Bytes cold_prefix_end(std::string_view prefix);

}  // namespace levada::detail
