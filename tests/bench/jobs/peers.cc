// Other systems' programs of the same jobs: JOB, N (rows), K (keys), RATE (rows to a second of event time)
// and W (workers) are their environment; a bare loop in one file takes JOB as its argument. They make the
// same rows as Generator.
#include <sys/stat.h>

#include <cstdio>
#include <stdexcept>

#include "child_run.h"
#include "measure.h"
#include "median.h"
#include "reports.h"

namespace bench {
namespace {

struct Peer {
  const char* name;
  const char* program;
  bool job_is_argument;
  bool workers;           ///< can be run with two
  bool million_windows;   ///< windows of a million keys end in sensible time
};

constexpr Peer kPeers[] = {
    {"floor", "floor", true, false, true},
    {"timely", "timelybench", false, true, true},
    {"renoir", "renoirbench", false, true, false},
};
// For a peer that takes a microsecond a row.
constexpr std::uint64_t kFewRows = 4'000'000;

// The name that the peers have for what a job does; empty when they have no such job.
std::string peer_job(const Job& job) {
  if (job.name == "slide_1m_max" || job.name.ends_with("string")) return {};
  for (const char* kind : {"chain", "reduce", "tumble", "slide"}) {
    if (job.name.find(kind) != std::string_view::npos) return kind;
  }
  return {};
}

// The folder's own, or where cargo puts it; empty when it was not built.
std::string find_program(const std::string& folder, const std::string& program) {
  for (const std::string& path :
       {folder + "/" + program, folder + "/target/release/" + program,
        folder + "/" + program + "/target/release/" + program}) {
    struct stat status{};
    if (stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode)) return path;
  }
  return {};
}

std::uint64_t rows_for(const Peer& peer, const Job& job) {
  const bool slow = job.keys >= 1'000'000 && job.name.find("reduce") == std::string_view::npos;
  return slow && !peer.million_windows ? std::min(job.rows, kFewRows) : job.rows;
}

bool can_run(const Peer& peer, const Job& job) {
  if (peer_job(job).empty() || (job.parallelism > 1 && !peer.workers)) return false;
  // Ten seconds of event time are too many rows for it.
  return peer.million_windows || job.name != "slide_1m";
}

Run run_peer(const Peer& peer, const std::string& program, const Job& job) {
  std::vector<std::string> words{program};
  if (peer.job_is_argument) words.push_back(peer_job(job));
  const std::uint64_t rows = rows_for(peer, job);
  const ChildRun child = run_child(
      words, {"JOB=" + peer_job(job), "N=" + std::to_string(rows), "K=" + std::to_string(job.keys),
              "RATE=" + std::to_string(job.rows_per_s), "W=" + std::to_string(job.parallelism)});
  if (child.status != 0 || child.output.find("RESULT") == std::string::npos) {
    throw std::runtime_error(program + ": the run of " + std::string(job.name) + " failed");
  }
  Run run;
  run.cpu_ns_per_row = child.cpu_s * 1e9 / static_cast<double>(rows);
  run.rows_per_s = static_cast<double>(rows) / child.wall_s;
  run.rss_mb = child.rss_mb;
  return run;
}

void print_job(const ReportOptions& options, const Job& job) {
  std::vector<std::function<Run()>> sides{
      [&] { return run_side({.job = job, .rows = job.rows}); }};
  std::vector<const Peer*> peers;
  for (const Peer& peer : kPeers) {
    const std::string program = find_program(options.peers, peer.program);
    if (program.empty() || !can_run(peer, job)) continue;
    peers.push_back(&peer);
    sides.push_back([&peer, program, &job] { return run_peer(peer, program, job); });
  }
  if (peers.empty()) return;
  const auto figures = measure_in_turn(sides, options.repeats, Same::kNothing, std::string(job.name));
  for (std::size_t i = 0; i < peers.size(); ++i) {
    std::printf("peer=%s job=%s ns_per_row=%.2f levada_ns_per_row=%.2f ratio=%.2f "
                "rows_per_s=%.0f rss_mb=%.0f spread=%.2f/%.2f\n",
                peers[i]->name, std::string(job.name).c_str(), figures[i + 1].cpu_ns_per_row,
                figures[0].cpu_ns_per_row,
                figures[0].cpu_ns_per_row / figures[i + 1].cpu_ns_per_row,
                figures[i + 1].rows_per_s, figures[i + 1].rss_mb, figures[i + 1].spread,
                figures[0].spread);
    std::fflush(stdout);
  }
}

}  // namespace

void print_peers(const ReportOptions& options) {
  bool any = false;
  for (const Peer& peer : kPeers) any |= !find_program(options.peers, peer.program).empty();
  if (!any) throw std::runtime_error(options.peers + " has no built program of a peer");
  for (const Job& job : options.jobs) print_job(options, job);
}

}  // namespace bench
