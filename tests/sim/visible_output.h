// VisibleOutput: what the target of the exactly-once simulation shows, and whether it may: per sink and key the
// rows of the source from some number on, in order, each once. Under a new sink generation, or as the output of
// another job, rows begin anew where that started; nothing comes under an earlier name then. Nobody changes a
// marker that a later start has taken over.
//
// Threads: one.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "sim/simulated_job.h"
#include "sim/simulated_postgres.h"

namespace levada::testing {

/// Whether the marker was moved past every checkpoint, for its generation is over.
bool is_retired(const EpochMarker& marker);

class VisibleOutput {
 public:
  /// Borrows both.
  VisibleOutput(const SimulatedPostgres& server, const SimulatedJob& job);

  /// Of the sink, whatever its generation.
  static std::string uid_of(const MarkerKey& key);
  /// The process has taken the job's directory over.
  void note_start(int client) { ranks_[client] = ++newest_rank_; }
  /// Announces a process that may come to do so.
  void note_process(int client) { ranks_[client] = newest_rank_; }
  /// Whether another one has done so since.
  bool is_overtaken(int client) const { return rank_of(client) != newest_rank_; }

  /// Takes in the server's newest commit; returns what is wrong with it, empty: nothing.
  std::string take() { return take(server_.commits().size() - 1); }
  /// The server has lost commits. Returns what is wrong with the others.
  std::string look_again();
  /// Every sink's output begins anew after these rows, under another name.
  void begin_after(const RowCounts& rows);
  /// Somebody has taken the markers away.
  void forget_owners() { ownerless_at_.insert(server_.commits().size()); }

  /// Whether every sink shows so many rows and no more.
  bool shows(const RowCounts& rows) const;
  /// The rows that the sinks show, of all rows.
  std::string shown() const;
  bool shows_all() const;
  /// How many markers the process has taken over.
  std::size_t markers_of(int client) const;

 private:
  using Name = std::pair<std::string, std::string>;  // job, and sink with its generation
  struct Holder {
    int client = 0;
    std::uint64_t incarnation = 0;
  };
  struct Line {
    Name name;
    std::size_t first = 0;  // of the server's commits: the first with rows of it
    RowCounts seen{};
  };
  struct Beginning {
    std::size_t at = 0;  // the server had so many commits
    RowCounts rows{};
  };

  std::string take(std::size_t index);
  Line* line_of(std::size_t index, std::string& wrong);
  const RowCounts* shown_by(const std::string& uid) const;
  std::string check_owner(const PostgresCommit& commit);
  std::string look_at(Line& line, const PostgresCommit& commit);

  int rank_of(int client) const;

  const SimulatedPostgres& server_;
  const SimulatedJob& job_;
  std::map<int, int> ranks_;  // of clients, in the order in which they took the directory over
  int newest_rank_ = 0;
  std::vector<Beginning> beginnings_;
  std::map<Name, RowCounts> begun_;    // where the rows under a name begin
  std::map<std::string, Line> lines_;  // by the sink's uid: under the name that had rows last
  std::set<Name> ended_;               // names that others have come after
  std::map<MarkerKey, Holder> owners_;
  std::set<std::size_t> ownerless_at_;  // before these of the server's commits the markers were taken away
  std::map<int, std::set<MarkerKey>> taken_over_;  // by client
};

}  // namespace levada::testing
