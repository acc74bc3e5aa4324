// StateReader: reads the state in a checkpoint or savepoint without a job. Lists what is there, gives keys and
// values with their types (older schemas are made into those of today, as a restore does) or, without any
// types, as JSON.
//
//   const levada::StateReader reader("/var/lib/shop/checkpoints/totals");
//   reader.read<std::string, std::int64_t>("totals", "sums", [](const std::string& user, std::int64_t sum) {…});
//
// State in a cold tier is read with the backend that wrote it, which links or copies the tier's files of one subtask
// at a time into a folder of its directory, "%reader", and deletes them when it has gone through them (a process that is
// killed meanwhile leaves them there):
//
//   const levada::StateReader reader(path, levada::rocksdb::state({.directory = "/var/tmp/reading"}));
//
// It takes no lock and changes nothing of what it reads. The sweep of a running job may take the files of an old checkpoint
// away, which shows as a StateError; a savepoint is never swept.
//
// Threads:  one at a time.
// Failures: StateError naming the path, file or state and what is wrong with it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "levada/state_backend.h"
#include "levada/state_type.h"
#include "levada/time.h"

namespace levada {

struct StateBackendOptions;

/// A checkpoint or savepoint as a whole.
struct CheckpointInfo {
  CheckpointId id = 0;
  std::string job_name;
  std::uint32_t max_parallelism = 0;
  Timestamp created{};
  bool savepoint = false;
  bool final = false;  ///< the job had reached the end of its input, or was stopped
};

/// A step with state.
struct NodeInfo {
  std::string uid;
  std::string name;
  std::uint32_t parallelism = 1;
};

struct StateInfo {
  std::string uid;
  std::string name;
  bool keyed = false;       ///< else operator state, whose bytes are the operator's own
  std::string schema;       ///< of keyed state: "key -> value"
  std::uint64_t entries = 0;  ///< of operator state: one a subtask
  std::uint64_t bytes = 0;    ///< encoded
  bool cold = false;  ///< in a cold tier and not counted: without its backend, or without the types that it needs
};

/// An exactly-once sink.
struct SinkInfo {
  std::string uid;
  std::string name;
  std::vector<CheckpointId> published;  ///< of each shard the newest epoch known to be published; 0: none
  std::uint64_t waiting_epochs = 0;
};

/// One entry as text.
struct JsonEntry {
  std::int64_t name_space = 0;  ///< windows: the slice's end in microseconds; else 0
  std::string_view key;         ///< JSON
  std::string_view value;       ///< JSON
  std::string_view key_bytes;   ///< the key's encoding
};

/// `text` as a JSON string, in quotes; bytes that are not UTF-8 become U+FFFD.
std::string json_text(std::string_view text);

class StateReader {
 public:
  /// `path`: a savepoint's directory, a job's directory in the checkpoint directory (its newest checkpoint that
  /// is whole), or one of its manifests.
  explicit StateReader(std::string_view path);
  /// `state`: what the job was given; its directory may be another.
  StateReader(std::string_view path, const StateBackendOptions& state);
  StateReader(StateReader&&) noexcept;
  StateReader& operator=(StateReader&&) noexcept;
  ~StateReader();

  CheckpointInfo checkpoint() const;
  std::vector<NodeInfo> nodes() const;
  /// By uid and name. Cost: of state in a cold tier, all of it is read.
  std::vector<StateInfo> states() const;
  std::vector<SinkInfo> sinks() const;
  /// Reads every state file to its end and compares length and hash.
  void verify() const;

  /// Calls f for each entry of a keyed state, in no order.
  ///
  /// Shape:   f(const K&, const V&) or f(std::int64_t name_space, const K&, const V&). V is what the step keeps
  ///          of a key: for reduce an std::optional of the row, for aggregate a tuple of the accumulators, for
  ///          the state members of a function, found by their names, their value, std::vector or std::map. With a
  ///          time to live a value, or an element, is a struct of a Timestamp `updated` and the `value`.
  /// Errors:  StateError when there is no such state, or it cannot be read as K and V.
  template <class K, class V, class F>
  void read(std::string_view uid, std::string_view state, F f) const;

  /// Calls f for each entry of a keyed state, in no order. Errors: as read(); StateError for a type with a Serde
  /// of its own whose schema does not say how it is encoded.
  void read_json(std::string_view uid, std::string_view state,
                 const std::function<void(const JsonEntry&)>& f) const;

  /// The bytes that each subtask wrote under that name, in subtask order.
  std::vector<Bytes> operator_state(std::string_view uid, std::string_view name) const;

 private:
  friend class SavepointWriter;  // copies what it has
  struct Contents;

  std::string table_of(std::string_view uid, std::string_view state) const;
  void read_blocks(std::string_view uid, const StateSpec& wanted,
                   const std::function<void(const RestoredBlock&)>& f) const;

  std::unique_ptr<Contents> contents_;
};

template <class K, class V, class F>
void StateReader::read(std::string_view uid, std::string_view state, F f) const {
  read_blocks(uid, keyed_state_spec<K, V>(std::string(state)), [&](const RestoredBlock& block) {
    View in = block.bytes;
    K key{};
    for (std::uint32_t i = 0; i < block.entries; ++i) {
      V value{};
      Serde<K>::read(in, key);
      Serde<V>::read(in, value);
      if constexpr (std::is_invocable_v<F&, std::int64_t, const K&, const V&>) {
        f(block.name_space, std::as_const(key), std::as_const(value));
      } else {
        f(std::as_const(key), std::as_const(value));
      }
    }
  });
}

}  // namespace levada
