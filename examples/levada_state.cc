// levada_state: looks into a checkpoint or savepoint; one JSON object a line.
//
//   levada_state ls PATH                     what is there
//   levada_state dump PATH [UID [STATE]]     keys and values
//   levada_state diff BEFORE AFTER           entries that were added, removed or changed; exits 1 if any were
//   levada_state verify PATH                 reads every file to its end
//
// PATH is a savepoint, a job's directory in its checkpoint directory, or one of its manifests. Checkpoints of a job
// with its state in RocksDB are read with --rocksdb DIRECTORY before the command: a folder, best on the disk of PATH,
// for links to their files while they are read.
#include <csignal>
#include <cstdio>
#include <exception>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "levada/options.h"
#ifdef LEVADA_STATE_ROCKSDB  // the backend was built
#include "levada/rocksdb.h"
#endif
#include "levada/state_reader.h"

namespace {

using levada::JsonEntry;
using levada::StateInfo;
using levada::StateReader;

std::string quoted(std::string_view text) { return levada::json_text(text); }

std::string hex(std::string_view bytes) {
  std::string text;
  char digits[3];
  for (const char c : bytes) {
    std::snprintf(digits, sizeof digits, "%02x", static_cast<unsigned char>(c));
    text += digits;
  }
  return text;
}

std::string name_of(const StateInfo& state) {
  return "\"uid\":" + quoted(state.uid) + ",\"state\":" + quoted(state.name);
}

int list(const StateReader& reader) {
  const levada::CheckpointInfo info = reader.checkpoint();
  std::printf("{\"checkpoint\":%llu,\"job\":%s,\"savepoint\":%s,\"max_parallelism\":%u}\n",
              static_cast<unsigned long long>(info.id), quoted(info.job_name).c_str(),
              info.savepoint ? "true" : "false", info.max_parallelism);
  for (const levada::NodeInfo& node : reader.nodes()) {
    std::printf("{\"uid\":%s,\"name\":%s,\"parallelism\":%u}\n", quoted(node.uid).c_str(),
                quoted(node.name).c_str(), node.parallelism);
  }
  for (const StateInfo& state : reader.states()) {
    if (state.cold) {
      std::printf("{%s,\"kind\":\"keyed\",\"schema\":%s,\"in\":\"cold tier\"}\n", name_of(state).c_str(),
                  quoted(state.schema).c_str());
      continue;
    }
    std::printf("{%s,\"kind\":\"%s\",\"schema\":%s,\"entries\":%llu,\"bytes\":%llu}\n", name_of(state).c_str(),
                state.keyed ? "keyed" : "operator", quoted(state.schema).c_str(),
                static_cast<unsigned long long>(state.entries), static_cast<unsigned long long>(state.bytes));
  }
  for (const levada::SinkInfo& sink : reader.sinks()) {
    std::printf("{\"uid\":%s,\"sink\":%s,\"waiting_epochs\":%llu}\n", quoted(sink.uid).c_str(),
                quoted(sink.name).c_str(), static_cast<unsigned long long>(sink.waiting_epochs));
  }
  return 0;
}

// The entries of a state as lines without braces, by what identifies them.
using Lines = std::map<std::string, std::pair<std::string, std::string>>;  // identity → key, value

std::string key_of(const JsonEntry& entry) {
  const std::string space = "\"namespace\":" + std::to_string(entry.name_space) + ",";
  return (entry.name_space != 0 ? space : std::string()) + "\"key\":" + std::string(entry.key);
}

template <class F>
void each_entry(const StateReader& reader, const StateInfo& state, F f) {
  if (state.keyed) {
    reader.read_json(state.uid, state.name, [&](const JsonEntry& entry) {
      f(std::to_string(entry.name_space) + "/" + std::string(entry.key_bytes), key_of(entry),
        std::string(entry.value));
    });
    return;
  }
  int subtask = 0;
  for (const levada::Bytes& bytes : reader.operator_state(state.uid, state.name)) {
    const std::string number = std::to_string(subtask++);
    f(number, "\"subtask\":" + number, "\"" + hex(bytes) + "\"");
  }
}

int dump(const StateReader& reader, std::string_view uid, std::string_view name) {
  for (const StateInfo& state : reader.states()) {
    if ((!uid.empty() && state.uid != uid) || (!name.empty() && state.name != name)) continue;
    each_entry(reader, state, [&](const std::string&, const std::string& key, const std::string& value) {
      std::printf("{%s,%s,\"value\":%s}\n", name_of(state).c_str(), key.c_str(), value.c_str());
      if (std::ferror(stdout) != 0) throw std::runtime_error("cannot write what it found");
    });
  }
  return 0;
}

int diff(const StateReader& before, const StateReader& after) {
  std::map<std::pair<std::string, std::string>, std::pair<const StateInfo*, const StateInfo*>> both;
  const auto old_states = before.states();
  const auto new_states = after.states();
  for (const StateInfo& state : old_states) both[{state.uid, state.name}].first = &state;
  for (const StateInfo& state : new_states) both[{state.uid, state.name}].second = &state;
  bool differs = false;
  const auto say = [&](const StateInfo& state, const char* change, const std::string& rest) {
    differs = true;
    std::printf("{\"change\":\"%s\",%s,%s}\n", change, name_of(state).c_str(), rest.c_str());
  };
  for (const auto& [id, pair] : both) {
    Lines old;
    if (pair.first != nullptr) {
      each_entry(before, *pair.first, [&](const std::string& at, const std::string& key, const std::string& value) {
        old[at] = {key, value};
      });
    }
    if (pair.second != nullptr) {
      each_entry(after, *pair.second, [&](const std::string& at, const std::string& key, const std::string& value) {
        const auto known = old.find(at);
        if (known == old.end()) return say(*pair.second, "added", key + ",\"after\":" + value);
        const std::string was = std::exchange(known->second.second, value);
        if (was != value) say(*pair.second, "changed", key + ",\"before\":" + was + ",\"after\":" + value);
        old.erase(known);
      });
    }
    for (const auto& [at, line] : old) say(*pair.first, "removed", line.first + ",\"before\":" + line.second);
  }
  return differs ? 1 : 0;
}

levada::StateBackendOptions state_in(const std::string& directory) {
#ifdef LEVADA_STATE_ROCKSDB
  return levada::rocksdb::state({.directory = directory});
#else
  throw std::runtime_error("RocksDB was left out of this build: nothing is read in " + directory);
#endif
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a reader of RocksDB's files cleans up when nobody reads on
  try {
    levada::StateBackendOptions backend = levada::memory_state();
    if (argc > 2 && std::string_view(argv[1]) == "--rocksdb") {
      backend = state_in(argv[2]);
      argc -= 2;
      argv += 2;
    }
    const auto reader_of = [&](const char* path) { return StateReader(path, backend); };
    const std::string_view command = argc > 2 ? argv[1] : "";
    if (command == "ls" && argc == 3) return list(reader_of(argv[2]));
    if (command == "dump" && argc <= 5) {
      return dump(reader_of(argv[2]), argc > 3 ? argv[3] : "", argc > 4 ? argv[4] : "");
    }
    if (command == "diff" && argc == 4) return diff(reader_of(argv[2]), reader_of(argv[3]));
    if (command == "verify" && argc == 3) return reader_of(argv[2]).verify(), 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "levada_state: %s\n", error.what());
    return 2;
  }
  std::fprintf(stderr,
               "usage: levada_state [--rocksdb DIRECTORY] ls PATH | dump PATH [UID [STATE]] | diff BEFORE AFTER | "
               "verify PATH\n");
  return 2;
}
