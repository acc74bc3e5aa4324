#include "measure.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <stdexcept>

#include "child_run.h"
#include "median.h"

namespace bench {
namespace {

constexpr double kSpreadMax = 0.15;
constexpr int kTriesMax = 4;

template <class Member>
std::vector<double> column(const std::vector<Run>& runs, Member member) {
  std::vector<double> values;
  for (const Run& run : runs) values.push_back(run.*member);
  return values;
}

Figures figures_of(const std::vector<Run>& runs) {
  Figures figures;
  figures.cpu_ns_per_row = median(column(runs, &Run::cpu_ns_per_row));
  figures.rows_per_s = median(column(runs, &Run::rows_per_s));
  figures.rss_mb = median(column(runs, &Run::rss_mb));
  figures.spread = spread(column(runs, &Run::cpu_ns_per_row));
  figures.checkpoints = std::min_element(runs.begin(), runs.end(), [](const Run& a, const Run& b) {
                          return a.checkpoints < b.checkpoints;
                        })->checkpoints;
  return figures;
}

bool alike(const Checksum& a, const Checksum& b, Same same) {
  return same == Same::kNothing || (same == Same::kRows ? a.rows == b.rows : a == b);
}

}  // namespace

Run run_side(const Side& side) {
  const std::string name(side.job.name);
  std::vector<std::string> words{"/proc/self/exe",
                                 name,
                                 "--only",
                                 side.bare ? "bare" : "levada",
                                 "--rows",
                                 std::to_string(side.rows),
                                 "--keys",
                                 std::to_string(side.job.keys),
                                 "--event-rate",
                                 std::to_string(side.job.rows_per_s),
                                 "--parallelism",
                                 std::to_string(side.job.parallelism),
                                 "--memory",
                                 std::to_string(side.memory)};
  if (side.checkpoints) words.emplace_back("--checkpoints");
  const ChildRun child = run_child(words);
  Run run;
  const int read = std::sscanf(child.output.c_str(), "%" SCNu64 " %" SCNu64 " %" SCNu64,
                               &run.checksum.rows, &run.checksum.sum, &run.checkpoints);
  if (child.status != 0 || read != 3) {
    throw std::runtime_error(name + ": the process of " + (side.bare ? "the bare loop" : "Levada") +
                             " failed");
  }
  const double rows = static_cast<double>(side.rows);
  run.cpu_ns_per_row = child.cpu_s * 1e9 / rows;
  run.rows_per_s = rows / child.wall_s;
  run.rss_mb = child.rss_mb;
  return run;
}

std::vector<Figures> measure_in_turn(const std::vector<std::function<Run()>>& sides, int repeats,
                                     Same same, const std::string& what) {
  std::vector<Figures> figures(sides.size());
  for (int tries = 0; tries < kTriesMax; ++tries) {
    std::vector<std::vector<Run>> runs(sides.size());
    for (int i = 0; i < repeats; ++i) {
      for (std::size_t s = 0; s < sides.size(); ++s) runs[s].push_back(sides[s]());
      for (const std::vector<Run>& side : runs) {
        if (alike(side.back().checksum, runs[0].back().checksum, same)) continue;
        throw std::runtime_error(what + ": the results of the sides differ");
      }
    }
    double widest = 0;
    for (std::size_t s = 0; s < sides.size(); ++s) {
      figures[s] = figures_of(runs[s]);
      widest = std::max(widest, figures[s].spread);
    }
    if (widest <= kSpreadMax) break;
  }
  return figures;
}

}  // namespace bench
