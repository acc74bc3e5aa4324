// The source contract. A source hands out splits (a Kafka partition, a file); the engine assigns them to
// subtasks, keeps their positions in the checkpoint, makes their watermarks and ends them. A reader only
// reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "levada/batch.h"
#include "levada/operator.h"
#include "levada/time.h"

namespace levada {

/// A split and where reading goes on. `position` is the source's own encoding, part of the checkpoint.
struct Split {
  std::string id;        ///< stable and unique in its source, e.g. "orders-3"
  std::string position;  ///< opaque to the engine
};

/// Rows [first, first + count) of a polled batch came from split `split` (the reader's index).
struct SplitRun {
  std::size_t split = 0;
  std::size_t first = 0;
  std::size_t count = 0;
};

/// What poll() says.
enum class PollResult {
  kMore,      ///< poll again at once
  kLater,     ///< nothing now: poll again after wake() or at next_poll()
  kFinished,  ///< all splits of this reader are finished; nothing will ever come
};

/// Reads the splits of one subtask.
///
/// Threads: of its task; never blocks.
class SourceReader {
 public:
  virtual ~SourceReader() = default;
  /// Called once with this subtask's splits (perhaps none), in the order that gives their indexes.
  virtual void open(OperatorContext& context, std::vector<Split> splits) = 0;
  /// Appends rows to `batch` (empty on entry), sets their times if the source has any (they are
  /// kNoTimestamp else, unless they will be taken from the rows), and says in `runs` which split they came
  /// from, in row order. May append fewer than fit.
  virtual PollResult poll(Batch& batch, std::vector<SplitRun>& runs) = 0;
  /// When to poll again after kLater without a wake(); kNever: only after a wake().
  virtual SteadyTime next_poll() const { return kNever; }
  /// True when the split has been read to its present end: only then may it become idle.
  virtual bool caught_up(std::size_t split) const = 0;
  /// True when the split will never give another row.
  virtual bool finished(std::size_t split) const = 0;
  /// The split's position after the last polled row, for a checkpoint.
  virtual std::string position(std::size_t split) const = 0;
  /// The position for people: the offset of the next row, a byte count; part of the job's status.
  virtual std::string position_text(std::size_t split) const { return position(split); }
  /// The checkpoint that contains these positions is complete (in split order): tell the outside.
  virtual void committed(std::span<const std::string> positions) { static_cast<void>(positions); }
  /// What polling waits for when a server is gone ("Kafka: all brokers down"); empty otherwise.
  virtual std::string waiting_for() const { return {}; }
  virtual void close() {}
};

/// The erased source that a transformation holds.
class SourceFactory {
 public:
  virtual ~SourceFactory() = default;
  /// All splits there are, each at the position where a fresh job starts. Called once per attempt, on
  /// the job's control thread, which it may block for up to 10 s; throws ConnectorError when the server
  /// cannot be reached or a topic is missing. `restored` are the splits of the checkpoint: they keep
  /// their position whatever is returned for them, and no position need be looked up for them.
  virtual std::vector<Split> discover(const std::vector<Split>& restored, const Clock& clock,
                                      const std::function<void(LogLevel, std::string_view)>& log) = 0;
  /// One reader per subtask.
  virtual std::unique_ptr<SourceReader> make_reader() = 0;
};

/// A typed source: what connectors return and from_source takes. `T` is the row.
template <class T>
struct Source {
  std::shared_ptr<SourceFactory> factory;
  std::string name;  ///< of the transformation unless the user gives one
};

}  // namespace levada
