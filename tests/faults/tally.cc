// The file: a line for each entry, `kind value name`; the name goes to the end of the line.
#include "tally.h"

#include <fstream>
#include <sstream>
#include <stdexcept>

namespace faults {
namespace {

template <class Map>
void add_all(const Map& from, Map& to) {
  for (const auto& [name, count] : from) to[name] += count;
}

template <class Map>
void write_all(const char* kind, const Map& counts, std::ostream& out) {
  for (const auto& [name, count] : counts) out << kind << ' ' << count << ' ' << name << '\n';
}

void take(const std::string& kind, std::uint64_t value, const std::string& name, Tally& tally) {
  if (kind == "seed") {
    tally.seed = value;
  } else if (kind == "count") {
    tally.counts[name] = static_cast<std::int64_t>(value);
  } else if (kind == "phase") {
    tally.kills_by_phase[name] = static_cast<std::int32_t>(value);
  } else if (kind == "point") {
    tally.kills_by_point[name] = static_cast<std::int32_t>(value);
  } else if (kind == "unreached") {
    tally.unreached[name] = static_cast<std::int32_t>(value);
  } else if (kind == "error") {
    tally.errors.push_back(name);
  } else {
    throw std::runtime_error("a campaign knows no '" + kind + "'");
  }
}

}  // namespace

std::int64_t Tally::count(const std::string& name) const {
  const auto found = counts.find(name);
  return found == counts.end() ? 0 : found->second;
}

FaultCounts Tally::done() const {
  const auto number = [this](const char* name) { return static_cast<std::int32_t>(count(name)); };
  return {.kills = number("kills"),
          .cuts = number("cuts"),
          .postgres_restarts = number("postgres_restarts"),
          .broker_kills = number("broker_kills"),
          .zombies = number("zombies"),
          .stops = number("stops")};
}

void Tally::add(const Tally& leg) {
  add_all(leg.counts, counts);
  add_all(leg.kills_by_phase, kills_by_phase);
  add_all(leg.kills_by_point, kills_by_point);
  add_all(leg.unreached, unreached);
  errors.insert(errors.end(), leg.errors.begin(), leg.errors.end());
}

Tally Tally::load(const std::filesystem::path& path) {
  Tally tally;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    std::istringstream words(line);
    std::string kind, name;
    std::uint64_t value = 0;
    if (!(words >> kind >> value) || !std::getline(words >> std::ws, name)) {
      throw std::runtime_error(path.string() + " is not that of a campaign: " + line);
    }
    take(kind, value, name, tally);
  }
  return tally;
}

void Tally::save(const std::filesystem::path& path) const {
  const std::filesystem::path temporary = path.string() + ".tmp";
  std::ofstream out(temporary, std::ios::trunc);
  out << "seed " << seed << " -\n";
  write_all("count", counts, out);
  write_all("phase", kills_by_phase, out);
  write_all("point", kills_by_point, out);
  write_all("unreached", unreached, out);
  for (std::string error : errors) {
    for (char& c : error) c = c == '\n' ? ' ' : c;
    out << "error 0 " << error << '\n';
  }
  out.close();
  if (!out) throw std::runtime_error("cannot write " + temporary.string());
  std::filesystem::rename(temporary, path);
}

}  // namespace faults
