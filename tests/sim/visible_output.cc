#include "sim/visible_output.h"

#include <algorithm>
#include <exception>

#include "checkpoint/epoch_recovery.h"

namespace levada::testing {

bool is_retired(const EpochMarker& marker) {
  return marker.epoch != 0 && marker.epoch == generation_end(marker.epoch >> 32);
}

VisibleOutput::VisibleOutput(const SimulatedPostgres& server, const SimulatedJob& job)
    : server_(server), job_(job) {}

std::string VisibleOutput::uid_of(const MarkerKey& key) {
  const std::string& sink = std::get<1>(key);
  return sink.substr(0, sink.find('@'));
}

int VisibleOutput::rank_of(int client) const {
  const auto rank = ranks_.find(client);
  return rank == ranks_.end() ? 0 : rank->second;
}

std::string VisibleOutput::take(std::size_t index) {
  const PostgresCommit& commit = server_.commits()[index];
  if (ownerless_at_.contains(index)) owners_.clear();
  std::string wrong = check_owner(commit);
  if (commit.rows.empty()) return wrong;
  Line* const line = line_of(index, wrong);
  if (wrong.empty() && line != nullptr) wrong = look_at(*line, commit);
  return wrong;
}

std::string VisibleOutput::look_again() {
  lines_.clear();
  ended_.clear();
  owners_.clear();
  const std::size_t commits = server_.commits().size();
  std::erase_if(beginnings_, [&](const Beginning& beginning) { return beginning.at > commits; });
  std::string wrong;
  for (std::size_t i = 0; i < commits && wrong.empty(); ++i) wrong = take(i);
  return wrong;
}

void VisibleOutput::begin_after(const RowCounts& rows) {
  beginnings_.push_back({.at = server_.commits().size(), .rows = rows});
}

// Null: nothing yet.
const RowCounts* VisibleOutput::shown_by(const std::string& uid) const {
  const auto line = lines_.find(uid);
  const bool anew = !beginnings_.empty() && (line == lines_.end() || line->second.first < beginnings_.back().at);
  if (anew) return &beginnings_.back().rows;
  return line == lines_.end() ? nullptr : &line->second.seen;
}

bool VisibleOutput::shows(const RowCounts& rows) const {
  return std::all_of(job_.sinks.begin(), job_.sinks.end(), [&](const std::string& uid) {
    const RowCounts* const shown = shown_by(uid);
    return shown == nullptr ? rows == RowCounts{} : *shown == rows;
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

// The line that the rows belong to; null: it has another name by now.
VisibleOutput::Line* VisibleOutput::line_of(std::size_t index, std::string& wrong) {
  const PostgresCommit& commit = server_.commits()[index];
  const Name name{std::get<0>(commit.key), std::get<1>(commit.key)};
  Line& line = lines_[uid_of(commit.key)];
  // Until the new one has rows, somebody may still come who was on his way when the markers were retired.
  if (line.name == name) return &line;
  if (ended_.contains(name)) {
    wrong = "rows are published under an earlier generation of the sink";
    return nullptr;
  }
  if (line.name != Name{}) ended_.insert(line.name);
  const auto begun = std::find_if(beginnings_.rbegin(), beginnings_.rend(),
                                  [&](const Beginning& beginning) { return beginning.at <= index; });
  if (begun != beginnings_.rend()) begun_.emplace(name, begun->rows);
  line = {.name = name, .first = index, .seen = begun_[name]};
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
