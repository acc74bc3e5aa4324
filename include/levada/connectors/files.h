// The files sink: rows as lines of finished files in a directory.
//
// Exactly once, the default with checkpoints on: an epoch, or several that wait together, becomes one
// file, written under a hidden name, synced, and given its name by one rename; so a reader sees whole
// epochs or nothing of them. The marker is a file under `.levada` in the same directory.
//
//   <job>~<sink>~<shard>~<epoch, 20 digits>.jsonl
//
// Whoever takes finished files away may do so at any time. Only one that was taken to another disk in the instant
// before its name survives a power loss comes once more when the power goes in that instant. What begins with a dot is
// the sink's own.
//
// Threads:  build the sink anywhere; publishing has a thread of its own.
// Failures: at the start ConnectorError when the directory cannot be used. Once running, a disk that is
//           full or gone is waited for, with back-off and a status that says so.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "levada/batch.h"
#include "levada/formats.h"
#include "levada/memory.h"
#include "levada/required.h"
#include "levada/sink.h"
#include "levada/time.h"
#include "levada/type_info.h"

namespace levada::files {

/// Options of sink<T>.
struct SinkOptions {
  /// Where the files go; made, for this user alone, if it is missing.
  Required<std::string> directory;
  /// One record of the format a line.
  Format format = json();
  /// A file is finished when so much has come for it, up to 64 MiB,
  std::uint64_t roll_bytes = 64_MiB;
  /// or when its oldest row has waited so long, or a savepoint or a full epoch log wants it out.
  Duration roll_interval = 10s;
  std::optional<Guarantee> guarantee{};
};

namespace detail {
std::shared_ptr<SinkFactory> make_sink(SinkOptions options, const TypeInfo& row);
}

/// A sink that writes every row as a line.
///
/// Shape:   rows in; nothing out.
/// Order:   kept per subtask.
/// State:   none beyond the epoch log.
/// Threads: call while building the graph.
/// Errors:  FormatError here, naming the field, when the format cannot hold T.
/// Cost:    a file holds what was written between two checkpoints or more, so short intervals and a
///          short roll_interval make many files.
template <Row T>
Sink<T> sink(SinkOptions options) {
  std::string name = "files " + options.directory.value;
  return {detail::make_sink(std::move(options), type_info<T>()), std::move(name)};
}

}  // namespace levada::files
