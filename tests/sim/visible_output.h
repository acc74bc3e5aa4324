// VisibleOutput: what the target of the exactly-once simulation shows, and whether it may: per sink and key the
// rows of the source from some number on, in order, each once. Under a new sink generation, or as the output of
// another job, rows begin anew where that started; nothing comes under an earlier generation then. Nobody changes a
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

class VisibleOutput {
 public:
  /// Borrows both.
  VisibleOutput(const SimulatedPostgres& server, const SimulatedJob& job);

  /// Of the sink, whatever its generation.
  static std::string uid_of(const MarkerKey& key);
  /// Whether the sink's output has this name now: job, and sink with its generation.
  bool is_named(const std::string& uid, const std::pair<std::string, std::string>& name) const;

  /// The process has taken the job's directory over.
  void note_start(int client) { ranks_[client] = ++newest_rank_; }
  /// Announces a process that may come to do so.
  void note_process(int client) { ranks_[client] = newest_rank_; }
  /// Whether another one has done so since.
  bool is_overtaken(int client) const { return rank_of(client) != newest_rank_; }

  /// Takes in a commit; returns what is wrong with it, empty: nothing.
  std::string take(const PostgresCommit& commit);
  /// The server has lost commits. Returns what is wrong with the others.
  std::string look_again();
  /// Output under new markers begins after these rows: under those that come, and those that have had none yet.
  void begin_after(const RowCounts& rows);

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
    int rank = 0;  // of the start that began it
    RowCounts begun{};
    RowCounts seen{};
  };

  Line* line_of(const PostgresCommit& commit, std::string& wrong);
  std::string check_owner(const PostgresCommit& commit);
  std::string look_at(Line& line, const PostgresCommit& commit);

  int rank_of(int client) const;

  const SimulatedPostgres& server_;
  const SimulatedJob& job_;
  std::map<int, int> ranks_;  // of clients, in the order in which they took the directory over
  int newest_rank_ = 0;
  RowCounts begin_after_{};
  std::map<Name, RowCounts> begun_;   // where the rows under a name begin
  std::map<std::string, Line> lines_;  // by the sink's uid: under its newest name
  std::set<Name> ended_;              // names that others have come after
  std::map<MarkerKey, Holder> owners_;
  std::map<int, std::set<MarkerKey>> taken_over_;  // by client
};

}  // namespace levada::testing
