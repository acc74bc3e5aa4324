// SavepointWriter: makes a savepoint without a job: state from somewhere else for a new job to begin with, or
// that of an old one with parts left out, changed or renamed.
//
//   levada::SavepointWriter writer("/var/lib/shop/begin", {.job_name = "totals"});
//   auto sums = writer.keyed_state<std::string, std::optional<Order>>("totals", "rolling");
//   for (const auto& [user, order] : known) sums.put(user, order);
//   writer.finish();
//
// Threads:  one at a time.
// Failures: StateError naming path and reason. Without finish(), or when it fails, there is no savepoint, but
//           files may be left in the directory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "levada/detail/key_groups.h"
#include "levada/serde.h"
#include "levada/state_type.h"

namespace levada {

class StateReader;
struct StateBackendOptions;

/// Makes a savepoint of a checkpoint or savepoint, of whatever job, which need not run: what a job that keeps its
/// state elsewhere, or under a changed schema, can begin with. `state`: the backend that wrote it, which is
/// needed where state is in a cold tier.
///
/// Cost:    reads and writes all of the state once.
/// Errors:  StateError naming path and reason; when output of a sink still waits to be published, which only its
///          job can do; when a cold tier has types with a Serde of their own, for which a savepoint must be taken
///          by the job. Nothing is left of a savepoint that failed.
void make_savepoint(std::string_view from, std::string_view into, const StateBackendOptions& state);
void make_savepoint(std::string_view from, std::string_view into);

struct SavepointOptions {
  std::string job_name{};       ///< for people: any job may restore it
  int max_parallelism = 128;    ///< must be that of the job
};

/// Takes the entries of one keyed state. Lives as long as its writer.
template <class K, class V>
class KeyedStateWriter;

class SavepointWriter {
 public:
  /// `path` is the savepoint's directory: it is created, or there and empty.
  explicit SavepointWriter(std::string_view path, SavepointOptions options = {});
  SavepointWriter(SavepointWriter&&) noexcept;
  SavepointWriter& operator=(SavepointWriter&&) noexcept;
  ~SavepointWriter();

  /// Begins the keyed state `state` of the step with that uid, as checkpoints call it: "rolling", "windows",
  /// "state/<name>" of a function's member.
  ///
  /// Errors:  StateError when that state was begun or copied before.
  template <class K, class V>
  KeyedStateWriter<K, V> keyed_state(std::string_view uid, std::string_view state) {
    return KeyedStateWriter<K, V>(*this, begin_table(uid, keyed_state_spec<K, V>(std::string(state))));
  }

  /// Copies all that `from` has of a step: keyed and operator state, positions of a source, what an
  /// exactly-once sink has published.
  ///
  /// Errors:  StateError when it has nothing of that uid, when the max_parallelism differs, or when output of
  ///          the sink still waits to be published.
  void copy(const StateReader& from, std::string_view uid);
  /// The same of one state of a step.
  void copy(const StateReader& from, std::string_view uid, std::string_view state);

  /// Makes the savepoint exist. Nothing but the destructor may follow.
  void finish();

 private:
  template <class K, class V>
  friend class KeyedStateWriter;
  struct Contents;

  std::uint32_t begin_table(std::string_view uid, const StateSpec& spec);
  void put(std::uint32_t table, std::int64_t name_space, std::uint64_t hash, std::string_view entry);

  std::unique_ptr<Contents> contents_;
};

template <class K, class V>
class KeyedStateWriter {
 public:
  /// Sets the value of a key; of two for the same key the later counts. `name_space`: of windows the slice's
  /// end in microseconds, else 0.
  void put(const K& key, const V& value, std::int64_t name_space = 0) {
    entry_.clear();
    Serde<K>::write(key, entry_);
    Serde<V>::write(value, entry_);
    writer_->put(table_, name_space, hash_of(key), entry_);
  }

 private:
  friend class SavepointWriter;
  KeyedStateWriter(SavepointWriter& writer, std::uint32_t table) : writer_(&writer), table_(table) {}

  SavepointWriter* writer_;
  std::uint32_t table_;
  Bytes entry_;
};

}  // namespace levada
