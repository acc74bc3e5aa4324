// Whole jobs on threads with state in RocksDB, on a budget that holds a part of it, stopped and started again
// at another parallelism from files of the machine.
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "levada/levada.h"
#include "levada/rocksdb.h"
#include "levada/savepoint_writer.h"
#include "levada/state_reader.h"
#include "support/gated_source.h"
#include "support/job_progress.h"
#include "support/rows.h"
#include "support/temp_dir.h"

namespace levada {
namespace {

using testing::Row;

struct Sum {
  std::int64_t key = 0, count = 0, total = 0;
};
LEVADA_RECORD(Sum, key, count, total)

struct Total {
  std::int64_t key = 0;
  Timestamp start;
  std::int64_t count = 0, total = 0;
};
LEVADA_RECORD(Total, key, start, count, total)

constexpr std::int64_t kKeys = 60'000;
constexpr std::int64_t kSize = 60'000'000;

Row make_row(std::uint64_t i) { return testing::row_of(i, kKeys, 0); }

EnvironmentOptions options_in(const testing::TempDir& directory, int parallelism) {
  return {.parallelism = parallelism,
          .checkpoint = {.interval = 20ms, .directory = directory / "checkpoints"},
          .state = rocksdb::state({.directory = directory / "cold"}),
          .memory = 4_MiB,
          .log = [](LogLevel level, std::string_view message) {
            EXPECT_LT(level, LogLevel::kWarning) << message;
          }};
}

// Rows for the parts of a job. All but the last have no end, however slow the machine is, so that the job still
// runs when it is stopped; the last has some more than were made before.
class Parts {
 public:
  explicit Parts(std::uint64_t more = 20'000) : more_(more) {}

  auto rows(StreamEnvironment& env, bool last) { return stream(env, last).key_by(&Row::key); }

  DataStream<Row> stream(StreamEnvironment& env, bool last) {
    if (last) total_ = made_->load() + more_;
    GenerateOptions options{.rate = 40'000, .splits = 2};
    if (last) options = {.rows = total_, .splits = 2};
    const auto make = [made = made_](std::uint64_t i) {
      std::uint64_t known = made->load();
      while (known <= i && !made->compare_exchange_weak(known, i + 1)) {
      }
      return make_row(i);
    };
    return env.generate<Row>(make, options, event_time(&Row::at, {.bounded_out_of_orderness = 1ms})).uid("rows");
  }
  // Of all parts, once the last has begun.
  std::uint64_t total() const { return total_; }

 private:
  std::shared_ptr<std::atomic<std::uint64_t>> made_ = std::make_shared<std::atomic<std::uint64_t>>(0);
  const std::uint64_t more_;
  std::uint64_t total_ = 0;
};

// Something is in a tier.
bool has_runs(const testing::TempDir& directory) {
  std::error_code gone;  // tiers delete files meanwhile
  for (auto at = std::filesystem::recursive_directory_iterator(directory / "cold", gone);
       !gone && at != std::filesystem::recursive_directory_iterator(); at.increment(gone)) {
    if (at->path().extension() == ".sst") return true;
  }
  return false;
}

// Starts the job again and again, each time at another parallelism, and stops it in between. Calls
// build(env, last part) to make it.
template <class Build>
void run_in_parts(const testing::TempDir& directory, Build build) {
  const std::vector<int> parallelisms = {2, 2, 3, 1, 2};
  for (std::size_t part = 0; part < parallelisms.size(); ++part) {
    StreamEnvironment env(options_in(directory, parallelisms[part]));
    const bool last = part + 1 == parallelisms.size();
    build(env, last);
    Job job = env.execute_async("cold");
    if (!last) {
      testing::wait_for_checkpoints(job, 3);
      testing::wait_until([&] { return has_runs(directory); });
      job.request_stop();
    }
    job.wait();
    EXPECT_EQ(job.status().restored_from.has_value(), part > 0);
  }
}

// As the checkpoints of a job lie there, with what is in RocksDB.
StateReader reader_with_rocksdb(const testing::TempDir& directory) {
  return StateReader(directory / "checkpoints/cold", rocksdb::state({.directory = directory / "reading"}));
}

std::map<std::string, std::string> entries_of(const StateReader& reader) {
  std::map<std::string, std::string> entries;
  reader.read_json("sums", "rolling", [&](const JsonEntry& entry) {
    EXPECT_TRUE(entries.emplace(entry.key, entry.value).second) << entry.key;
  });
  return entries;
}

TEST(RocksDbJob, CountsEveryRowOnceThroughStopsAndRescales) {
  const testing::TempDir directory;
  Collected<Sum> collected;
  Parts parts(60'000);
  run_in_parts(directory, [&](StreamEnvironment& env, bool last) {
    parts.rows(env, last)
        .aggregate(key().as(&Sum::key), count().as(&Sum::count), sum(&Row::value).as(&Sum::total))
        .uid("sums")
        .collect_into(collected)
        .uid("out");
  });
  ASSERT_EQ(collected.rows().size(), parts.total());
  std::map<std::int64_t, Sum> last, expected;
  for (const Sum& row : collected.rows()) {
    Sum& known = last[row.key];
    ASSERT_EQ(row.count, known.count + 1) << row.key;
    known = row;
  }
  for (std::uint64_t i = 0; i < parts.total(); ++i) {
    const Row row = make_row(i);
    ++expected[row.key].count;
    expected[row.key].total += row.value;
  }
  ASSERT_EQ(last.size(), expected.size());
  for (const auto& [key, sum] : expected) {
    ASSERT_EQ(last[key].count, sum.count);
    ASSERT_EQ(last[key].total, sum.total);
  }
  // It is a cache: nothing of it is left.
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory / "cold")) {
    EXPECT_FALSE(entry.path().extension() == ".sst") << entry.path();
  }
}

TEST(RocksDbJob, FiresWindowsWithAllTheirRowsThroughStopsAndRescales) {
  const testing::TempDir directory;
  Collected<Total> collected;
  Parts parts(60'000);
  run_in_parts(directory, [&](StreamEnvironment& env, bool last) {
    parts.rows(env, last)
        .window(tumbling(Duration{kSize}))
        .aggregate(key().as(&Total::key), window_start().as(&Total::start), count().as(&Total::count),
                   sum(&Row::value).as(&Total::total))
        .uid("totals")
        .collect_into(collected)
        .uid("out");
  });
  std::map<std::pair<std::int64_t, std::int64_t>, std::array<std::int64_t, 2>> totals, expected;
  for (const Total& row : collected.rows()) {
    ASSERT_TRUE(totals
                    .emplace(std::pair{row.key, row.start.time_since_epoch().count()},
                             std::array<std::int64_t, 2>{row.count, row.total})
                    .second);
  }
  for (std::uint64_t i = 0; i < parts.total(); ++i) {
    const Row row = make_row(i);
    const std::int64_t time = row.at.time_since_epoch().count();
    auto& [count, total] = expected[{row.key, time - time % kSize}];
    ++count;
    total += row.value;
  }
  ASSERT_EQ(totals, expected);
}

// ---- savepoints move a job from one backend to the other

EnvironmentOptions in_memory(const testing::TempDir& directory, int parallelism) {
  EnvironmentOptions options = options_in(directory, parallelism);
  options.state = memory_state();
  options.memory = 256_MiB;
  return options;
}

// Runs the job in parts, in RocksDB and in memory in turn, each from the savepoint of the one before. Calls
// build(env, last part) to make it, and check(path) with each savepoint.
template <class Build, class Check>
void run_through_savepoints(const testing::TempDir& directory, Build build, Check check) {
  const std::vector<int> parallelisms = {2, 3, 1, 2};
  std::string savepoint;
  for (std::size_t part = 0; part < parallelisms.size(); ++part) {
    const bool cold = part % 2 == 0;
    StreamEnvironment env(cold ? options_in(directory, parallelisms[part])
                               : in_memory(directory, parallelisms[part]));
    const bool last = part + 1 == parallelisms.size();
    build(env, last);
    Job job = env.execute_async("cold", {.restore = savepoint});
    const auto ready = [&] {
      return job.status().checkpoints_completed >= 3 && (!cold || has_runs(directory));
    };
    while (!ready() && !job.wait_for(1ms)) {
    }
    EXPECT_EQ(job.status().restored_from.has_value(), part > 0);
    if (last) return job.wait();
    savepoint = job.stop_with_savepoint(directory / ("savepoint-" + std::to_string(part)), {.drain = false});
    StateReader(savepoint).verify();
    for (const auto& entry : std::filesystem::recursive_directory_iterator(savepoint)) {
      EXPECT_NE(entry.path().filename().string().substr(0, 4), "tmp-") << entry.path();
    }
    check(savepoint);
  }
}

TEST(RocksDbJob, MovesRollingStateToMemoryAndBackBySavepoints) {
  const testing::TempDir directory;
  Collected<Sum> collected;
  Parts parts;
  const auto build = [&](StreamEnvironment& env, bool last) {
    parts.rows(env, last)
        .aggregate(key().as(&Sum::key), count().as(&Sum::count), sum(&Row::value).as(&Sum::total))
        .uid("sums")
        .collect_into(collected)
        .uid("out");
  };
  run_through_savepoints(directory, build, [&](const std::string& path) {
    std::map<std::int64_t, Sum> last;
    for (const Sum& row : collected.rows()) last[row.key] = row;
    std::size_t entries = 0;
    const StateReader reader(path);
    const std::vector<StateInfo> states = reader.states();
    for (const StateInfo& state : states) {
      if (!state.keyed) continue;
      EXPECT_EQ(state.entries, last.size());
      reader.read_json(state.uid, state.name, [&](const JsonEntry& entry) {
        const auto known = last.find(std::stoll(std::string(entry.key)));
        ASSERT_NE(known, last.end()) << entry.key;
        EXPECT_NE(entry.value.find(std::to_string(known->second.total)), std::string::npos)
            << entry.key << ": " << entry.value;
        ++entries;
      });
    }
    EXPECT_EQ(entries, last.size());
  });
  ASSERT_EQ(collected.rows().size(), parts.total());
  std::map<std::int64_t, Sum> last;
  for (const Sum& row : collected.rows()) {
    ASSERT_EQ(row.count, last[row.key].count + 1) << row.key;
    last[row.key] = row;
  }
}

TEST(RocksDbJob, MovesWindowsToMemoryAndBackBySavepoints) {
  const testing::TempDir directory;
  Collected<Total> collected;
  Parts parts;
  const auto build = [&](StreamEnvironment& env, bool last) {
    parts.rows(env, last)
        .window(tumbling(Duration{kSize}))
        .aggregate(key().as(&Total::key), window_start().as(&Total::start), count().as(&Total::count),
                   sum(&Row::value).as(&Total::total))
        .uid("totals")
        .collect_into(collected)
        .uid("out");
  };
  run_through_savepoints(directory, build, [](const std::string&) {});
  std::uint64_t rows = 0;
  std::set<std::pair<std::int64_t, Timestamp>> fired;
  for (const Total& row : collected.rows()) {
    EXPECT_TRUE(fired.emplace(row.key, row.start).second) << row.key;
    rows += static_cast<std::uint64_t>(row.count);
  }
  EXPECT_EQ(rows, parts.total());
}

struct Seen {
  std::int64_t key = 0, value = 0, count = 0, different = 0;
};
LEVADA_RECORD(Seen, key, value, count, different)

bool forgets(std::int64_t key, std::int64_t value) { return (key + value) % 3 == 0; }
std::string name_of(std::int64_t value) { return "value " + std::to_string(value % 5); }

// Forgets a key now and then, so that entries go which the tier has.
struct Watch {
  ValueState<std::int64_t> count{"count"};
  MapState<std::string, std::int64_t> values{"values"};

  void process(const Row& row, KeyedContext<std::int64_t, Seen>& ctx) {
    ++count.get();
    values.put(name_of(row.value), row.value);
    std::int64_t different = 0;
    values.for_each([&](const std::string&, std::int64_t) { ++different; });
    ctx.emit({row.key, row.value, count.get(), different});
    if (!forgets(row.key, row.value)) return;
    count.clear();
    values.clear();
  }
};

TEST(RocksDbJob, MovesWhatFunctionsKeepAndForgetToMemoryAndBackBySavepoints) {
  const testing::TempDir directory;
  Collected<Seen> collected;
  Parts parts;
  const auto build = [&](StreamEnvironment& env, bool last) {
    parts.rows(env, last).process<Seen>(Watch{}).uid("watch").collect_into(collected).uid("out");
  };
  run_through_savepoints(directory, build, [](const std::string&) {});
  std::map<std::int64_t, std::pair<std::int64_t, std::set<std::string>>> known;
  std::map<std::pair<std::int64_t, std::int64_t>, int> left;
  for (std::uint64_t i = 0; i < parts.total(); ++i) {
    const Row row = make_row(i);
    ++left[{row.key, row.value}];
  }
  for (const Seen& row : collected.rows()) {
    auto& [count, names] = known[row.key];
    names.insert(name_of(row.value));
    ASSERT_EQ(row.count, ++count) << row.key;
    ASSERT_EQ(row.different, static_cast<std::int64_t>(names.size())) << row.key;
    if (forgets(row.key, row.value)) known.erase(row.key);
    ASSERT_GE(--left[std::pair(row.key, row.value)], 0);
  }
  EXPECT_EQ(collected.rows().size(), parts.total());
}

// ---- what does not change

TEST(RocksDbJob, WhatDoesNotChangeLeavesTheCheckpointsThoughNoRowsCome) {
  constexpr std::uint64_t kPart = kKeys / 100;
  const testing::TempDir directory;
  EnvironmentOptions options = options_in(directory, 1);
  options.checkpoint.interval = 0ms;
  options.memory = 64_MiB;
  const auto gate = std::make_shared<testing::Gate>();
  gate->open(0);
  const auto row = [](std::uint64_t i) { return Row{.key = static_cast<std::int64_t>(i) % kKeys, .value = 1}; };
  StreamEnvironment env(std::move(options));
  env.from_source(testing::gated_source<Row>(gate, row))
      .uid("rows")
      .key_by(&Row::key)
      .aggregate(key().as(&Sum::key), count().as(&Sum::count), sum(&Row::value).as(&Sum::total))
      .uid("sums")
      .discard()
      .uid("out");
  Job job = env.execute_async("cold");
  std::uint64_t rows = 0;
  const auto bytes_after = [&](std::uint64_t more) {
    rows += more;
    gate->open(rows);
    testing::wait_until([&] { return gate->read() == rows; });
    return job.checkpoint().bytes;
  };
  const std::uint64_t full = bytes_after(kKeys);
  EXPECT_GT(full, kKeys * 10);
  // One batch each time; the task has nothing else to do between two of them but this.
  testing::wait_until([&] { return bytes_after(kPart) < full / 10; });
  job.request_stop();
  job.wait();
  EXPECT_EQ(entries_of(reader_with_rocksdb(directory)).size(), static_cast<std::size_t>(kKeys));
}

// ---- large maps

struct Note {
  std::int64_t count = 0;
  std::string text;
};
LEVADA_RECORD(Note, count, text)

struct Noted {
  std::int64_t shelf = 0, place = 0, count = 0, near = 0;  // notes of places near by, of all counts
};
LEVADA_RECORD(Noted, shelf, place, count, near)

constexpr std::int64_t kShelves = 10, kPlaces = 2'000;
constexpr std::int64_t kNear = 20;

std::int64_t shelf_of(const Row& row) { return row.key % kShelves; }
std::int64_t place_of(const Row& row) { return row.key / kShelves % kPlaces; }
std::string text_of(std::int64_t place) { return std::string(100, '=') + std::to_string(place); }
// What a row takes away besides.
std::int64_t other_place(std::int64_t place, std::int64_t count) { return (place * 31 + count) % kPlaces; }

// Many notes a key.
struct Shelves {
  MapState<std::int64_t, Note> notes{"notes"};

  void process(const Row& row, KeyedContext<std::int64_t, Noted>& ctx) {
    const std::int64_t place = place_of(row);
    Note& note = notes.get(place);
    note.text = text_of(place);
    const std::int64_t count = ++note.count;
    std::int64_t near = 0;
    notes.for_each(place - kNear, place + kNear, [&](std::int64_t other, const Note& known) {
      if (known.text == text_of(other)) near += known.count;
    });
    notes.erase(other_place(place, count));
    ctx.emit({ctx.key(), place, count, near});
  }
};

using Places = std::map<std::int64_t, std::int64_t>;  // to counts
// What the rows say of the shelves, row by row.
std::map<std::int64_t, Places> shelves_after(const std::vector<Noted>& rows) {
  std::map<std::int64_t, Places> shelves;
  for (const Noted& row : rows) {
    Places& places = shelves[row.shelf];
    EXPECT_EQ(row.count, ++places[row.place]) << row.shelf << " " << row.place;
    std::int64_t near = 0;
    for (auto at = places.lower_bound(row.place - kNear); at != places.end() && at->first < row.place + kNear; ++at) {
      near += at->second;
    }
    EXPECT_EQ(row.near, near) << row.shelf << " " << row.place;
    places.erase(other_place(row.place, row.count));
    if (::testing::Test::HasFailure()) break;
  }
  return shelves;
}

void add_shelves(DataStream<Row> rows, Collected<Noted>& collected) {
  rows.key_by(shelf_of).process<Noted>(Shelves{}).uid("shelves").collect_into(collected).uid("out");
}

void expect_shelves(const StateReader& reader, const std::map<std::int64_t, Places>& expected) {
  std::size_t shelves = 0;
  reader.read<std::int64_t, std::map<std::int64_t, Note>>(
      "shelves", "notes", [&](std::int64_t shelf, const std::map<std::int64_t, Note>& notes) {
        Places places;
        for (const auto& [place, note] : notes) {
          EXPECT_EQ(note.text, text_of(place));
          places[place] = note.count;
        }
        ++shelves;
        EXPECT_EQ(places, expected.at(shelf)) << shelf;
      });
  EXPECT_EQ(shelves, expected.size());
}

TEST(RocksDbJob, MovesLargeMapsToMemoryAndBackBySavepoints) {
  const testing::TempDir directory;
  Collected<Noted> collected;
  Parts parts;
  const auto build = [&](StreamEnvironment& env, bool last) { add_shelves(parts.stream(env, last), collected); };
  run_through_savepoints(directory, build, [&](const std::string& path) {
    expect_shelves(StateReader(path), shelves_after(collected.rows()));
  });
  EXPECT_EQ(collected.rows().size(), parts.total());
  shelves_after(collected.rows());
}

TEST(RocksDbJob, KeepsLargeMapsThroughStopsAndRescalesAndAnswersQueriesOfThem) {
  const testing::TempDir directory;
  Collected<Noted> collected;
  Parts parts;
  for (const int parallelism : {2, 3, 1}) {
    StreamEnvironment env(options_in(directory, parallelism));
    add_shelves(parts.stream(env, false), collected);
    Job job = env.execute_async("cold");
    const auto shelf = job.query<std::int64_t, std::map<std::int64_t, Note>>("shelves", "notes");
    std::size_t found = 0;
    const auto ready = [&] {
      return job.status().checkpoints_completed >= 4 && found >= 500 && has_runs(directory);
    };
    while (!ready() && !job.wait_for(50ms)) {
      const auto notes = shelf.get(3);
      if (!notes) continue;
      found = notes->size();
      for (const auto& [place, note] : *notes) ASSERT_EQ(note.text, text_of(place));
    }
    job.request_stop();
    job.wait();
  }
  const StateReader reader = reader_with_rocksdb(directory);
  expect_shelves(reader, shelves_after(collected.rows()));
  std::vector<std::string> keyed;
  for (const StateInfo& state : reader.states()) {
    if (state.keyed) keyed.push_back(state.name);
  }
  EXPECT_EQ(keyed, std::vector<std::string>{"state/notes"}) << "and not what the maps are cut into";
}

// ---- its checkpoints are RocksDB's

// Reads the checkpoint in place, through a copy of its state, and with the types; compares with its savepoint.
void expect_reads_the_same(const testing::TempDir& directory, const StateReader& savepoint) {
  const std::map<std::string, std::string> expected = entries_of(savepoint);
  ASSERT_FALSE(expected.empty());
  const StateReader reader = reader_with_rocksdb(directory);
  EXPECT_EQ(entries_of(reader), expected);
  ASSERT_EQ(reader.states().size(), savepoint.states().size());
  for (std::size_t i = 0; i < reader.states().size(); ++i) {
    const StateInfo info = reader.states()[i], wanted = savepoint.states()[i];
    EXPECT_EQ(info.name, wanted.name);
    EXPECT_EQ(info.entries, wanted.entries) << info.name;
    EXPECT_EQ(info.bytes, wanted.bytes) << info.name;
    EXPECT_FALSE(info.cold);
  }
  std::size_t typed = 0;
  using Sums = std::tuple<detail::Nothing, std::int64_t, std::int64_t>;
  reader.read<std::int64_t, Sums>("sums", "rolling", [&](std::int64_t key, const Sums& sums) {
    ++typed;
    EXPECT_NE(expected.at(std::to_string(key)).find(std::to_string(std::get<2>(sums))), std::string::npos);
  });
  EXPECT_EQ(typed, expected.size());
  SavepointWriter writer(directory / "copied");
  writer.copy(reader, "sums");
  writer.finish();
  EXPECT_EQ(entries_of(StateReader(directory / "copied")), expected);

  const StateReader blind(directory / "checkpoints/cold");
  const std::vector<StateInfo> unread = blind.states();
  EXPECT_TRUE(std::any_of(unread.begin(), unread.end(), [](const StateInfo& info) { return info.cold; }));
  EXPECT_THROW(entries_of(blind), StateError);
}

TEST(RocksDbJob, ACheckpointIsReadInMemoryOnceASavepointIsMadeOfIt) {
  const testing::TempDir directory;
  Collected<Sum> collected;
  Parts parts;
  const auto build = [&](StreamEnvironment& env, bool last) {
    parts.rows(env, last)
        .aggregate(key().as(&Sum::key), count().as(&Sum::count), sum(&Row::value).as(&Sum::total))
        .uid("sums")
        .collect_into(collected)
        .uid("out");
  };
  {
    StreamEnvironment env(options_in(directory, 2));
    build(env, false);
    Job job = env.execute_async("cold");
    while ((job.status().checkpoints_completed < 3 || !has_runs(directory)) && !job.wait_for(1ms)) {
    }
    job.checkpoint();
    job.request_stop();
    job.wait();
  }
  EnvironmentOptions options = in_memory(directory, 3);
  options.restart = no_restart();
  options.log = {};
  const auto run = [&](const std::string& restore) {
    StreamEnvironment env(options);
    build(env, true);
    env.execute("cold", {.restore = restore});
  };
  try {
    run({});
    FAIL() << "state was lost silently";
  } catch (const JobError& error) {
    EXPECT_NE(std::string(error.what()).find("cold tier"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("make_savepoint()"), std::string::npos) << error.what();
  }
  const std::string checkpoint = directory / "checkpoints/cold", savepoint = directory / "made";
  EXPECT_THROW(make_savepoint(checkpoint, savepoint), StateError) << "nothing here can read the tier";
  EXPECT_FALSE(std::filesystem::exists(savepoint));
  make_savepoint(checkpoint, savepoint, options_in(directory, 1).state);
  expect_reads_the_same(directory, StateReader(savepoint));
  run(savepoint);
  ASSERT_EQ(collected.rows().size(), parts.total());
  std::map<std::int64_t, Sum> last;
  for (const Sum& row : collected.rows()) {
    ASSERT_EQ(row.count, last[row.key].count + 1) << row.key;
    last[row.key] = row;
  }
}

}  // namespace
}  // namespace levada
