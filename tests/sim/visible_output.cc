#include "sim/visible_output.h"

#include <algorithm>
#include <exception>

#include "checkpoint/epoch_recovery.h"

namespace levada::testing {
namespace {

// Moved past every checkpoint, for its generation is over.
bool is_retired(const EpochMarker& marker) {
  return marker.epoch != 0 && marker.epoch == generation_end(marker.epoch >> 32);
}

}  // namespace

VisibleOutput::VisibleOutput(const SimulatedPostgres& server, const SimulatedJob& job)
    : server_(server), job_(job) {}

std::string VisibleOutput::uid_of(const MarkerKey& key) {
  const std::string& sink = std::get<1>(key);
  return sink.substr(0, sink.find('@'));
}

bool VisibleOutput::is_named(const std::string& uid, const std::pair<std::string, std::string>& name) const {
  const auto line = lines_.find(uid);
  return line != lines_.end() && line->second.name == name;
}

int VisibleOutput::rank_of(int client) const {
  const auto rank = ranks_.find(client);
  return rank == ranks_.end() ? 0 : rank->second;
}

std::string VisibleOutput::take(const PostgresCommit& commit) {
  std::string wrong = check_owner(commit);
  Line* const line = line_of(commit, wrong);
  if (wrong.empty() && line != nullptr) wrong = look_at(*line, commit);
  return wrong;
}

std::string VisibleOutput::look_again() {
  lines_.clear();
  ended_.clear();
  owners_.clear();
  std::string wrong;
  for (const PostgresCommit& commit : server_.commits()) {
    if (wrong.empty()) wrong = take(commit);
  }
  return wrong;
}

void VisibleOutput::begin_after(const RowCounts& rows) {
  begin_after_ = rows;
  for (auto& [uid, line] : lines_) {
    if (line.seen != line.begun) continue;
    begun_[line.name] = line.begun = line.seen = rows;
  }
}

bool VisibleOutput::shows(const RowCounts& rows) const {
  return std::all_of(job_.sinks.begin(), job_.sinks.end(), [&](const std::string& uid) {
    const auto line = lines_.find(uid);
    return line == lines_.end() ? rows == RowCounts{} : line->second.seen == rows;
  });
}

bool VisibleOutput::shows_all() const { return shows(job_.all_rows()); }

std::string VisibleOutput::shown() const {
  std::string text;
  for (const auto& [uid, line] : lines_) {
    std::int64_t rows = 0;
    for (const std::int64_t count : line.seen) rows += count;
    text += (text.empty() ? "" : " and ") + std::to_string(rows) + " by '" + line.name.second + "'";
  }
  return text + " of " + std::to_string(job_.rows) + " rows";
}

std::size_t VisibleOutput::markers_of(int client) const {
  const auto taken = taken_over_.find(client);
  return taken == taken_over_.end() ? 0 : taken->second.size();
}

// The line that the commit belongs to; null: it is of an earlier generation, which is ended.
VisibleOutput::Line* VisibleOutput::line_of(const PostgresCommit& commit, std::string& wrong) {
  const Name name{std::get<0>(commit.key), std::get<1>(commit.key)};
  Line& line = lines_[uid_of(commit.key)];
  if (line.name == name) return &line;
  // Who was overtaken may still make a marker of a generation that never came to be.
  const bool ended = ended_.contains(name) || rank_of(commit.client) < line.rank;
  if (ended && !commit.rows.empty()) wrong = "rows are published under an earlier generation of the sink";
  if (ended || (commit.after && is_retired(*commit.after))) return nullptr;
  if (line.name != Name{}) ended_.insert(line.name);
  const RowCounts& begun = begun_.emplace(name, begin_after_).first->second;
  line = {.name = name, .rank = rank_of(commit.client), .begun = begun, .seen = begun};
  return &line;
}

std::string VisibleOutput::check_owner(const PostgresCommit& commit) {
  Holder& owner = owners_[commit.key];
  std::string wrong;
  if (commit.after && owner.incarnation > commit.after->owner.incarnation) {
    wrong = "incarnation " + std::to_string(commit.after->owner.incarnation) +
            " publishes after a later one took the marker over";
  }
  if (commit.after && (!commit.before || commit.before->owner != commit.after->owner)) {
    owner = {commit.client, commit.after->owner.incarnation};
  }
  if (commit.after && commit.rows.empty() && !is_retired(*commit.after)) {
    taken_over_[commit.client].insert(commit.key);
  }
  if (!wrong.empty() || commit.client == owner.client) return wrong;
  return "process " + std::to_string(commit.client) + " publishes after process " +
         std::to_string(owner.client) + " took the marker over";
}

// Per key the rows must be the next ones of the source.
std::string VisibleOutput::look_at(Line& line, const PostgresCommit& commit) {
  for (const PostgresCommit::Row& row : commit.rows) {
    SimulatedRow got;
    try {
      got = read_row(row.body, job_.padding);
    } catch (const std::exception& error) {
      return "a row that cannot be read is visible: " + std::string(error.what());
    }
    const SimulatedRow right = make_row(static_cast<std::uint64_t>(got.number));
    if (got.key != right.key || got.check != right.check || got.number < 0) {
      return "a row that the source never had is visible";
    }
    const auto key = static_cast<std::size_t>(got.key);
    const std::int64_t expected = got.key + kKeys * line.seen[key];
    if (got.number != expected) {
      return "row " + std::to_string(got.number) + " of key " + std::to_string(key) + " is visible where " +
             std::to_string(expected) + " was to come";
    }
    ++line.seen[key];
  }
  return {};
}

}  // namespace levada::testing
