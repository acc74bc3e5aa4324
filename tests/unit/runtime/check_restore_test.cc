// The dry run of a restore says what the restore then does, for random pairs of versions of a job.
#include <gmock/gmock.h>

#include <set>

#include "base/random.h"
#include "levada/levada.h"
#include "support/seed.h"
#include "support/temp_dir.h"

namespace check_restore_test {

// Versions of one record. Which can be read as which is the model below.
struct Order0 {
  std::string user;
  std::int64_t amount = 0;
};
LEVADA_RECORD(Order0, user, amount)
struct Order1 {
  std::string user;
  std::int64_t amount = 0;
  std::vector<std::string> notes = {"none"};
};
LEVADA_RECORD(Order1, user, amount, notes)
struct Order2 {
  std::int64_t amount = 0;
  std::string user;
};
LEVADA_RECORD(Order2, amount, user)
struct Order3 {
  std::string user;
  std::int32_t amount = 0;
};
LEVADA_RECORD(Order3, user, amount)
struct Order4 {
  std::string user;
  std::optional<std::int64_t> amount;
};
LEVADA_RECORD(Order4, user, amount)
struct Order5 {
  std::string user;
  double amount = 0;
};
LEVADA_RECORD(Order5, user, amount)

}  // namespace check_restore_test

namespace levada {
namespace {

using namespace check_restore_test;
using ::testing::HasSubstr;
using levada::testing::TempDir;

constexpr int kVersions = 6;

// May state of version `from` be read as version `to`?
bool readable(int from, int to) {
  const auto amount = [](int version) { return version == 3 ? 1 : version == 4 ? 3 : version == 5 ? 4 : 2; };
  // int32 < int64 < int64?, and double is for itself.
  return amount(from) == amount(to) || (amount(to) != 4 && amount(from) < amount(to));
}

struct Step {
  enum class Kind { kReduce, kWindow, kKeyedByNumber };
  Kind kind = Kind::kReduce;
  int version = 0;
  int parallelism = 1;
  bool operator==(const Step&) const = default;
};

// A version of the job: its steps by uid.
struct Version {
  std::map<std::string, Step> steps;
  bool second_source = false;
  int max_parallelism = 16;
};

template <class Row>
void add_step(DataStream<std::int64_t> numbers, const std::string& uid, const Step& step) {
  auto rows = numbers.map([](std::int64_t i) {
    Row row;
    row.user = std::to_string(i % 7);
    using Amount = decltype(row.amount);
    if constexpr (std::is_arithmetic_v<Amount>) {
      row.amount = static_cast<Amount>(i);
    } else {
      row.amount = i;
    }
    return row;
  });
  const auto keep = [](Row, const Row& last) { return last; };
  if (step.kind == Step::Kind::kKeyedByNumber) {
    rows.key_by([](const Row& row) { return static_cast<std::int64_t>(row.user.size()); })
        .reduce(keep)
        .uid(uid)
        .parallelism(step.parallelism)
        .discard()
        .uid("out " + uid);
    return;
  }
  auto keyed = rows.key_by(&Row::user);
  auto reduced = step.kind == Step::Kind::kReduce ? keyed.reduce(keep) : keyed.window(tumbling(10s)).reduce(keep);
  reduced.uid(uid).parallelism(step.parallelism).discard().uid("out " + uid);
}

void build(StreamEnvironment& env, const Version& version) {
  const auto source = [&](const char* uid) {
    auto numbers = env.generate<std::int64_t>([](std::uint64_t i) { return static_cast<std::int64_t>(i); },
                                              {.rows = 50},
                                              event_time<std::int64_t>([](std::int64_t i) {
                                                return Timestamp{Duration{i * 1'000'000}};
                                              }));
    numbers.uid(uid);
    return numbers;
  };
  auto numbers = source("in");
  if (version.second_source) source("second").discard().uid("out second");
  numbers.discard().uid("out");
  using Add = void (*)(DataStream<std::int64_t>, const std::string&, const Step&);
  constexpr Add kAdd[kVersions] = {add_step<Order0>, add_step<Order1>, add_step<Order2>,
                                   add_step<Order3>, add_step<Order4>, add_step<Order5>};
  for (const auto& [uid, step] : version.steps) kAdd[step.version](numbers, uid, step);
}

EnvironmentOptions options_of(const TempDir& dir, const Version& version) {
  return {.max_parallelism = version.max_parallelism,
          .checkpoint = {.interval = 1h, .directory = dir.path()},
          .restart = no_restart()};
}

Step random_step(Random& random) {
  return {.kind = random.chance(0.1)   ? Step::Kind::kKeyedByNumber
                  : random.chance(0.3) ? Step::Kind::kWindow
                                       : Step::Kind::kReduce,
          .version = static_cast<int>(random.below(kVersions)),
          .parallelism = 1 + static_cast<int>(random.below(3))};
}

Version random_version(Random& random) {
  Version version;
  for (const char* uid : {"a", "b", "c"}) {
    if (random.chance(0.6)) version.steps[uid] = random_step(random);
  }
  version.second_source = random.chance(0.2);
  return version;
}

Version changed(Version version, Random& random) {
  for (const char* uid : {"a", "b", "c"}) {
    if (random.chance(0.15)) {
      version.steps.erase(uid);
    } else if (random.chance(0.3)) {
      version.steps[uid] = random_step(random);
    } else if (const auto at = version.steps.find(uid); at != version.steps.end() && random.chance(0.5)) {
      at->second.version = static_cast<int>(random.below(kVersions));
      at->second.parallelism = 1 + static_cast<int>(random.below(3));
    }
  }
  if (random.chance(0.1)) version.second_source = !version.second_source;
  if (random.chance(0.05)) version.max_parallelism = 32;
  return version;
}

// What a restore should do, said once more without schemas.
bool should_refuse(const Version& before, const Version& after, bool allow) {
  if (before.max_parallelism != after.max_parallelism) return true;
  if (before.second_source && !after.second_source && !allow) return true;
  for (const auto& [uid, step] : before.steps) {
    const auto at = after.steps.find(uid);
    const bool gone = at == after.steps.end();
    // A reduce and a window have states of different names.
    const bool other = !gone && (step.kind == Step::Kind::kWindow) != (at->second.kind == Step::Kind::kWindow);
    if (gone || other) {
      if (!allow) return true;
      continue;
    }
    if (step.kind != at->second.kind) return true;  // another key
    if (!readable(step.version, at->second.version)) return true;
  }
  return false;
}

const RestoreItem* find(const RestoreReport& report, const std::string& uid, const std::string& state) {
  for (const RestoreItem& item : report.items) {
    if (item.uid == uid && item.state == state) return &item;
  }
  return nullptr;
}

RestoreVerdict verdict_of(const RestoreReport& report, const std::string& uid, const std::string& state) {
  const RestoreItem* const item = find(report, uid, state);
  if (item != nullptr) return item->verdict;
  ADD_FAILURE() << "no '" << state << "' of '" << uid << "' in\n" << report.text();
  return RestoreVerdict::kNew;
}

TEST(CheckRestoreOfRandomVersions, SaysWhatTheRestoreDoes) {
  const std::uint64_t seed = testing::first_seed();
  std::set<RestoreVerdict> seen;
  int restored = 0;
  const std::uint64_t count = testing::seed_count(60);
  for (std::uint64_t i = 0; i < count; ++i) {
    SCOPED_TRACE("seed " + std::to_string(seed + i));
    Random random(seed + i);
    const TempDir dir;
    const Version before = random_version(random);
    const Version after = changed(before, random);
    const ExecuteOptions execute{.allow_non_restored_state = random.chance(0.5)};
    StreamEnvironment first(options_of(dir, before));
    build(first, before);
    first.execute("job");

    StreamEnvironment second(options_of(dir, after));
    build(second, after);
    const RestoreReport report = second.check_restore(dir.path() + "/job", execute);
    for (const RestoreItem& item : report.items) seen.insert(item.verdict);
    ASSERT_EQ(report.refused(), should_refuse(before, after, execute.allow_non_restored_state))
        << report.text();
    std::string error;
    try {
      second.execute("job", execute);
    } catch (const JobError& failure) {
      EXPECT_EQ(failure.code(), JobErrorCode::kState);
      error = failure.what();
    }
    ASSERT_EQ(!error.empty(), report.refused()) << report.text() << error;
    restored += error.empty() ? 1 : 0;
    for (const RestoreItem& item : report.items) {
      if (item.verdict != RestoreVerdict::kRefused) continue;
      ASSERT_FALSE(item.details.empty());
      EXPECT_THAT(error, HasSubstr(item.details.front()));
    }
  }
  if (count == 1) return;
  EXPECT_EQ(seen.size(), 5u) << "every verdict comes up";
  EXPECT_GT(restored, 5);
}

class CheckRestore : public ::testing::Test {
 protected:
  RestoreReport report_of(const Version& before, const Version& after, const ExecuteOptions& execute = {}) {
    StreamEnvironment first(options_of(dir_, before));
    build(first, before);
    first.execute("job");
    StreamEnvironment second(options_of(dir_, after));
    build(second, after);
    return second.check_restore(dir_.path() + "/job", execute);
  }

  TempDir dir_;
};

TEST_F(CheckRestore, TellsOfEveryStateWhatBecomesOfIt) {
  const Version before{.steps = {{"a", {.version = 0}}, {"b", {.version = 3}}, {"c", {}}}};
  const Version after{.steps = {{"a", {.version = 0}}, {"b", {.version = 1}}, {"d", {}}}};
  const RestoreReport report = report_of(before, after, {.allow_non_restored_state = true});
  EXPECT_FALSE(report.refused());
  EXPECT_EQ(report.job_name, "job");
  EXPECT_EQ(verdict_of(report, "in", "splits"), RestoreVerdict::kRestored);
  EXPECT_EQ(verdict_of(report, "a", "rolling"), RestoreVerdict::kRestored);
  EXPECT_EQ(verdict_of(report, "b", "rolling"), RestoreVerdict::kMigrated);
  EXPECT_EQ(verdict_of(report, "c", "rolling"), RestoreVerdict::kDropped);
  EXPECT_EQ(verdict_of(report, "d", "rolling"), RestoreVerdict::kNew);
  EXPECT_THAT(find(report, "b", "rolling")->details,
              ::testing::UnorderedElementsAre("amount: int32 -> int64", "notes: added"));
  EXPECT_THAT(report.text(), HasSubstr("can be restored"));
  EXPECT_THAT(report.text(), HasSubstr("  migrated  keyed state 'rolling' of 'b': amount: int32 -> int64"));
  EXPECT_THAT(report.text(), HasSubstr("  restored  source 'in': 1 splits: "));
}

// The last sum of each user, of rows 0 to `rows`, those of an earlier run among them.
template <class Row>
std::map<std::string, Row> sums(const TempDir& dir, std::uint64_t rows, int parallelism) {
  StreamEnvironment env({.parallelism = parallelism,
                         .max_parallelism = 16,
                         .checkpoint = {.interval = 1h, .directory = dir.path()}});
  auto result = env.generate<Row>(
                       [](std::uint64_t i) {
                         Row row{};
                         row.user = std::to_string(i % 7);
                         row.amount = static_cast<decltype(row.amount)>(i);
                         return row;
                       },
                       {.rows = rows})
                    .uid("in")
                    .key_by(&Row::user)
                    .reduce([](Row sum, const Row& row) {
                      sum.amount += row.amount;
                      return sum;
                    })
                    .uid("sum")
                    .collect("out");
  env.execute("job");
  std::map<std::string, Row> last;
  for (Row& row : result.rows()) last[row.user] = row;
  return last;
}

TEST_F(CheckRestore, AJobGoesOnWithTheValuesThatWereMigrated) {
  constexpr std::uint64_t kRows = 700;
  sums<Order3>(dir_, kRows, 1);
  const auto found = sums<Order1>(dir_, 2 * kRows, 2);
  ASSERT_EQ(found.size(), 7u);
  for (const auto& [user, row] : found) {
    std::int64_t expected = 0;
    for (std::uint64_t i = 0; i < 2 * kRows; ++i) {
      if (std::to_string(i % 7) == user) expected += static_cast<std::int64_t>(i);
    }
    EXPECT_EQ(row.amount, expected);
    EXPECT_THAT(row.notes, ::testing::ElementsAre("none"));
  }
}

TEST_F(CheckRestore, SaysWhyItRefuses) {
  Version after{.steps = {{"a", {.version = 3}}, {"b", {.kind = Step::Kind::kKeyedByNumber}}},
                .max_parallelism = 8};
  const RestoreReport report = report_of({.steps = {{"a", {}}, {"b", {}}, {"c", {}}}}, after);
  EXPECT_TRUE(report.refused());
  const std::string text = report.text();
  EXPECT_THAT(text, HasSubstr("refused  checkpoint: it was taken with max_parallelism 16"));
  EXPECT_THAT(text, HasSubstr("{user:string,amount:int64}?, but the program's is string -> "
                              "{user:string,amount:int32}?: amount: int64 -> int32 narrows"));
  EXPECT_THAT(text, HasSubstr("the key: string -> int64 would change its hash"));
  EXPECT_THAT(text, HasSubstr("refused  keyed state 'rolling' of 'c': the graph has no step with that uid"));
}

TEST_F(CheckRestore, RunsNothingAndChangesNothing) {
  report_of({.steps = {{"a", {}}}}, {.steps = {{"a", {}}}});
  StreamEnvironment env(options_of(dir_, {}));
  std::atomic<bool> ran{false};
  env.generate<std::int64_t>([&](std::uint64_t) {
    ran = true;
    return std::int64_t{0};
  }).uid("in").key_by([](std::int64_t i) { return i; }).reduce([](std::int64_t a, std::int64_t) { return a; })
      .uid("a").discard().uid("out");
  // Twice the same: nothing was raised, and no lock is held.
  EXPECT_EQ(env.check_restore(dir_.path() + "/job").text(), env.check_restore(dir_.path() + "/job").text());
  EXPECT_FALSE(ran);
}

TEST_F(CheckRestore, SaysWhenThereIsNothingToRead) {
  StreamEnvironment env(options_of(dir_, {}));
  build(env, {});
  EXPECT_THROW(env.check_restore(dir_.path() + "/nothing"), StateError);
  StreamEnvironment broken(options_of(dir_, {}));
  broken.from_values<std::int64_t>({1});
  EXPECT_THROW(broken.check_restore(dir_.path()), GraphError);
}

}  // namespace
}  // namespace levada
