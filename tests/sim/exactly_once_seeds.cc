// The exactly-once simulation as a program: many seeds, one seed with its trace, or the hunt for planted bugs.
// tests/sim/run says how it is called. Workers are processes of their own, for a planted bug is a global switch.
#include <sys/personality.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/planted_bug.h"
#include "sim/exactly_once_simulation.h"

namespace levada::testing {
namespace {

constexpr std::uint64_t kSeedsPerBug = 10'000;
constexpr std::uint64_t kReplayedOneIn = 100;
constexpr int kFailuresShown = 10;

struct Arguments {
  std::uint64_t first = 1;
  std::uint64_t seeds = 0;
  std::uint64_t one = 0;
  std::uint64_t jobs = 2;
  bool planted = false;
  std::vector<std::string> bugs;
  std::vector<std::string> traces;  // of which seeds only the trace hash is wanted
};

// What a worker sends home.
struct Sum {
  std::uint64_t seeds = 0, steps = 0, checkpoints = 0, publishes = 0, incarnations = 0, savepoints = 0,
                generations = 0, refused = 0;
  std::uint64_t wrong = 0;
  std::uint64_t replayed = 0, replayed_elsewhere = 0;  // the latter at other addresses
  std::array<std::uint64_t, kSimulatedFaults> hits{};
  std::array<std::uint64_t, kFailuresShown> failed{};

  void add(std::uint64_t seed, const ExactlyOnceRun& run) {
    ++seeds;
    steps += run.steps;
    checkpoints += run.checkpoints;
    publishes += run.publishes;
    incarnations += run.incarnations;
    savepoints += run.savepoints;
    generations += run.generations;
    refused += run.refused ? 1 : 0;
    for (std::size_t i = 0; i < hits.size(); ++i) hits[i] += run.hits[i];
    if (run.wrong.empty()) return;
    if (wrong < failed.size()) failed[wrong] = seed;
    ++wrong;
  }
  void add(const Sum& other) {
    for (std::uint64_t i = 0; i < other.wrong && i < other.failed.size(); ++i) {
      if (wrong + i < failed.size()) failed[wrong + i] = other.failed[i];
    }
    seeds += other.seeds;
    steps += other.steps;
    checkpoints += other.checkpoints;
    publishes += other.publishes;
    incarnations += other.incarnations;
    savepoints += other.savepoints;
    generations += other.generations;
    refused += other.refused;
    wrong += other.wrong;
    replayed += other.replayed;
    replayed_elsewhere += other.replayed_elsewhere;
    for (std::size_t i = 0; i < hits.size(); ++i) hits[i] += other.hits[i];
  }
};

struct Found {
  std::uint64_t seed = 0;
  char what[200] = {};
};

// For the handler of SIGABRT: an assertion of the library ends the process, and the seed must not be lost.
std::uint64_t current_seed = 0;
int hunters_pipe = -1;

void aborted(int) {
  Found found{.seed = current_seed, .what = "an assertion of the library failed"};
  if (hunters_pipe >= 0) {
    _exit(write(hunters_pipe, &found, sizeof found) == static_cast<ssize_t>(sizeof found) ? 0 : 1);
  }
  char text[64] = "seed ";
  std::size_t at = 5;
  char digits[20];
  std::size_t count = 0;
  for (std::uint64_t rest = current_seed; rest > 0 || count == 0; rest /= 10) {
    digits[count++] = static_cast<char>('0' + rest % 10);
  }
  while (count > 0) text[at++] = digits[--count];
  static constexpr char kRest[] = ": an assertion of the library failed\n";
  std::memcpy(text + at, kRest, sizeof kRest - 1);
  static_cast<void>(!write(STDOUT_FILENO, text, at + sizeof kRest - 1));
  _exit(1);
}

ExactlyOnceRun simulate(std::uint64_t seed) {
  current_seed = seed;
  return simulate_exactly_once(seed);
}

[[noreturn]] void die(const std::string& why) {
  std::fprintf(stderr, "exactly_once_seeds: %s\n", why.c_str());
  std::exit(2);
}

unsigned long long own_address() { return reinterpret_cast<std::uintptr_t>(&simulate); }

struct Replayed {
  unsigned long long address = 0;  // of the code
  std::vector<std::uint64_t> traces;
};

// The hashes that another process gets for these seeds.
Replayed replayed_by_another_process(const std::vector<std::uint64_t>& seeds) {
  char self[4096] = {};
  if (readlink("/proc/self/exe", self, sizeof self - 1) <= 0) die("there is no /proc/self/exe");
  std::string command = "'" + std::string(self) + "' --traces";
  for (const std::uint64_t seed : seeds) command += " " + std::to_string(seed);
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) die("cannot start " + command);
  Replayed made;
  unsigned long long trace = 0;
  bool whole = fscanf(pipe, "%llu", &made.address) == 1;
  while (fscanf(pipe, "%llu", &trace) == 1) made.traces.push_back(trace);
  whole = pclose(pipe) == 0 && whole && made.traces.size() == seeds.size();
  if (!whole) die("another process did not replay its seeds");
  return made;
}

Sum run_part(std::uint64_t first, std::uint64_t end, std::uint64_t stride) {
  Sum sum;
  std::vector<std::uint64_t> seeds;
  std::vector<std::uint64_t> traces;
  const auto compare = [&] {
    const Replayed others = replayed_by_another_process(seeds);
    sum.replayed += seeds.size();
    if (others.address != own_address()) sum.replayed_elsewhere += seeds.size();
    for (std::size_t i = 0; i < seeds.size(); ++i) {
      if (others.traces[i] == traces[i]) continue;
      std::printf("seed %llu: another process has another trace\n",
                  static_cast<unsigned long long>(seeds[i]));
      ++sum.wrong;
    }
    seeds.clear();
    traces.clear();
  };
  for (std::uint64_t seed = first; seed < end; seed += stride) {
    const ExactlyOnceRun run = simulate(seed);
    sum.add(seed, run);
    if (!run.wrong.empty() && sum.wrong <= kFailuresShown) {
      std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), run.wrong.c_str());
      std::fflush(stdout);
    }
    if ((seed / stride) % kReplayedOneIn == 0) {
      seeds.push_back(seed);
      traces.push_back(run.trace);
    }
    if (seeds.size() == kReplayedOneIn) compare();
  }
  if (!seeds.empty()) compare();
  return sum;
}

// Runs `part(i)` in `jobs` processes and returns what they send, in order.
template <class T, class Part>
std::vector<T> in_processes(std::uint64_t jobs, Part part) {
  std::vector<int> pipes;
  std::vector<pid_t> children;
  std::fflush(stdout);
  for (std::uint64_t i = 0; i < jobs; ++i) {
    int ends[2] = {};
    if (pipe(ends) != 0) die("no pipe");
    const pid_t child = fork();
    if (child < 0) die("no process");
    if (child == 0) {
      close(ends[0]);
      if constexpr (std::is_same_v<T, Found>) hunters_pipe = ends[1];
      const T made = part(i);
      std::fflush(stdout);
      const bool sent = write(ends[1], &made, sizeof made) == static_cast<ssize_t>(sizeof made);
      _exit(sent ? 0 : 1);
    }
    close(ends[1]);
    pipes.push_back(ends[0]);
    children.push_back(child);
  }
  std::vector<T> results(jobs);
  bool whole = true;
  for (std::size_t i = 0; i < jobs; ++i) {
    whole &= read(pipes[i], &results[i], sizeof(T)) == static_cast<ssize_t>(sizeof(T));
    close(pipes[i]);
    int status = 0;
    waitpid(children[i], &status, 0);
    whole &= status == 0;
  }
  if (!whole) die("a worker died");
  return results;
}

int run_seeds(const Arguments& arguments) {
  const auto begun = std::chrono::steady_clock::now();
  Sum sum;
  for (const Sum& part : in_processes<Sum>(arguments.jobs, [&](std::uint64_t i) {
         return run_part(arguments.first + i, arguments.first + arguments.seeds, arguments.jobs);
       })) {
    sum.add(part);
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begun;
  const auto mean = [&](std::uint64_t total) {
    return static_cast<double>(total) / static_cast<double>(sum.seeds);
  };
  std::uint64_t faults = 0;
  bool right = sum.wrong == 0;
  for (std::size_t i = 0; i < kSimulatedFaults; ++i) {
    const std::string name{to_string(static_cast<SimulatedFault>(i))};
    std::printf("  %-26s %llu\n", name.c_str(), static_cast<unsigned long long>(sum.hits[i]));
    faults += sum.hits[i];
    if (sum.hits[i] > 0) continue;
    std::printf("no seed had a %s\n", name.c_str());
    right = false;
  }
  std::printf("%llu seeds in %.1f s; means a seed: faults %.2f, checkpoints %.2f, publishes %.2f, "
              "incarnations %.2f, savepoints %.2f, steps %.0f; new generations %llu; refused %llu; failed %llu\n",
              static_cast<unsigned long long>(sum.seeds), took.count(), mean(faults),
              mean(sum.checkpoints), mean(sum.publishes), mean(sum.incarnations),
              mean(sum.savepoints), mean(sum.steps),
              static_cast<unsigned long long>(sum.generations), static_cast<unsigned long long>(sum.refused),
              static_cast<unsigned long long>(sum.wrong));
  std::printf("%llu seeds replayed by another process, %llu of them at other addresses\n",
              static_cast<unsigned long long>(sum.replayed),
              static_cast<unsigned long long>(sum.replayed_elsewhere));
  const bool random_addresses = (personality(0xffffffff) & ADDR_NO_RANDOMIZE) == 0;
  if (random_addresses && sum.replayed > 0 && sum.replayed_elsewhere == 0) {
    std::printf("addresses are not random here, so the replay shows little\n");
    right = false;
  }
  if (sum.seeds >= 1'000 && sum.generations == 0) {
    std::printf("no seed had a new sink generation\n");
    right = false;
  }
  if (mean(faults) < 5 || mean(sum.checkpoints) < 3 || mean(sum.publishes) < 3 ||
      mean(sum.incarnations) < 2 || mean(sum.savepoints) < 0.2) {
    std::printf("too little happened: at least 5 faults, 3 checkpoints, 3 publishes, 2 incarnations and 0.2 "
                "savepoints a seed are wanted\n");
    right = false;
  }
  return right ? 0 : 1;
}

Found hunt(const std::string& bug) {
  plant_bug(bug);
  Found found;
  for (std::uint64_t seed = 1; seed <= kSeedsPerBug && found.seed == 0; ++seed) {
    const ExactlyOnceRun run = simulate(seed);
    if (run.wrong.empty()) continue;
    found.seed = seed;
    std::strncpy(found.what, run.wrong.c_str(), sizeof found.what - 1);
  }
  plant_bug("");
  return found;
}

int hunt_planted(const Arguments& arguments) {
  std::vector<std::string> bugs = arguments.bugs;
  if (bugs.empty()) {
    bugs.assign(kPlantedBugs.begin(), kPlantedBugs.end());
    // This job has no keyed state: main_pipeline_sim_test finds those.
    std::erase_if(bugs, [](const std::string& bug) { return bug.starts_with("snapshot."); });
  }
  int missed = 0;
  for (const std::string& bug : bugs) {
    const Found found = in_processes<Found>(1, [&](std::uint64_t) { return hunt(bug); }).front();
    if (found.seed == 0) {
      ++missed;
      std::printf("%-36s NOT FOUND within %llu seeds\n", bug.c_str(),
                  static_cast<unsigned long long>(kSeedsPerBug));
    } else {
      std::printf("%-36s seed %-6llu %s\n", bug.c_str(), static_cast<unsigned long long>(found.seed),
                  found.what);
    }
    std::fflush(stdout);
  }
  std::printf("%zu planted bugs, %d not found\n", bugs.size(), missed);
  return missed == 0 ? 0 : 1;
}

int replay(std::uint64_t seed) {
  const ExactlyOnceRun run = simulate_exactly_once(
      seed, [](const std::string& line) { std::printf("%s\n", line.c_str()); });
  std::printf("seed %llu: trace %llu, %s\n", static_cast<unsigned long long>(seed),
              static_cast<unsigned long long>(run.trace),
              run.wrong.empty() ? "right" : run.wrong.c_str());
  return run.wrong.empty() ? 0 : 1;
}

Arguments parse(int argc, char** argv) {
  Arguments arguments;
  const auto number = [&](int& i) {
    if (++i >= argc) die("an option wants a number");
    return std::strtoull(argv[i], nullptr, 10);
  };
  for (int i = 1; i < argc; ++i) {
    const std::string_view option = argv[i];
    if (option == "--seeds") {
      arguments.seeds = number(i);
    } else if (option == "--first") {
      arguments.first = number(i);
    } else if (option == "--seed") {
      arguments.one = number(i);
    } else if (option == "--jobs") {
      arguments.jobs = number(i);
    } else if (option == "--bug") {
      if (++i >= argc) die("--bug wants a name");
      plant_bug(argv[i]);
    } else if (option == "--planted") {
      arguments.planted = true;
      while (i + 1 < argc && argv[i + 1][0] != '-') arguments.bugs.emplace_back(argv[++i]);
    } else if (option == "--traces") {
      while (i + 1 < argc) arguments.traces.emplace_back(argv[++i]);
    } else {
      die("unknown option " + std::string(option));
    }
  }
  return arguments;
}

int run(int argc, char** argv) {
  std::signal(SIGABRT, aborted);
  const Arguments arguments = parse(argc, argv);
  if (!arguments.traces.empty()) std::printf("%llu\n", own_address());
  for (const std::string& seed : arguments.traces) {
    const ExactlyOnceRun made = simulate_exactly_once(std::strtoull(seed.c_str(), nullptr, 10));
    std::printf("%llu\n", static_cast<unsigned long long>(made.trace));
  }
  if (!arguments.traces.empty()) return 0;
  if (arguments.planted) return hunt_planted(arguments);
  if (arguments.one > 0) return replay(arguments.one);
  if (arguments.seeds > 0 && arguments.jobs > 0) return run_seeds(arguments);
  die("nothing to do");
}

}  // namespace
}  // namespace levada::testing

int main(int argc, char** argv) { return levada::testing::run(argc, argv); }
