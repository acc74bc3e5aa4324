// The contract of a cold tier, the same for all: random runs, removals of ranges, look-ups, scans and
// checkpoints against a map.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "base/file_system.h"
#include "checkpoint/cold_files.h"
#include "checkpoint/cold_restore.h"
#include "levada/detail/cold_queue.h"
#include "levada/error.h"
#include "levada/rocksdb.h"
#include "support/seed.h"
#include "support/temp_dir.h"
#include "testing/memory_cold_tier.h"

namespace levada {
namespace {

using Map = std::map<Bytes, Bytes, std::less<>>;

class ColdTierContract : public ::testing::TestWithParam<std::string> {
 public:
  void SetUp() override {
    local_file_system().create_directories(state);
    if (GetParam() == "memory") {
      backend = std::make_shared<testing::MemoryColdBackend>();
    } else {
      backend = rocksdb::state({.directory = directory / "cold"}).cold;
    }
  }

  std::uint64_t below(std::uint64_t n) { return random() % n; }

  Bytes key(std::uint64_t n) {
    Bytes made;
    detail::put_cold_prefix(made, static_cast<std::uint32_t>(n % 7), 11, static_cast<std::int64_t>(n % 3) - 1);
    return made + std::to_string(n);
  }

  void change(ColdTier& tier, Map& model) {
    ColdRun run;
    std::set<std::uint64_t> numbers;
    for (std::uint64_t i = below(300); i > 0; --i) numbers.insert(below(2000));
    numbers.insert(below(2000));
    for (const std::uint64_t n : numbers) {
      const bool removed = below(4) == 0;
      run.begin(n, removed);
      run.bytes() += key(n);
      run.end_key();
      if (!removed) run.bytes() += std::string(below(50), 'v') + std::to_string(below(1000));
      run.end();
      const ColdRun::Entry& entry = run.entries().back();
      if (removed) {
        model.erase(key(n));
      } else {
        model[key(n)] = run.value(entry);
      }
    }
    tier.take_in(run);
  }

  void remove_ranges(ColdTier& tier, Map& model) {
    const std::int64_t name_space = static_cast<std::int64_t>(below(3)) - 1;
    std::vector<std::pair<Bytes, Bytes>> ranges;
    for (std::uint32_t group = static_cast<std::uint32_t>(below(4)); group < 7; group += 2) {
      Bytes first;
      detail::put_cold_prefix(first, group, 11, name_space);
      ranges.emplace_back(first, detail::cold_prefix_end(first));
      model.erase(model.lower_bound(ranges.back().first), model.lower_bound(ranges.back().second));
    }
    tier.remove_ranges(ranges);
  }

  void look_up(ColdTier& tier, const Map& model) {
    std::set<Bytes> wanted;
    for (std::uint64_t i = below(200); i > 0; --i) wanted.insert(key(below(2500)));
    const std::vector<std::string_view> keys(wanted.begin(), wanted.end());
    ColdValues values;
    tier.get(keys, values);
    ASSERT_EQ(values.found.size(), keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      const auto at = model.find(keys[i]);
      ASSERT_EQ(values.found[i], at != model.end());
      if (at != model.end()) {
        ASSERT_EQ(values.values[i], at->second);
      }
    }
  }

  void expect_scans(ColdTier& tier, const Map& model) {
    const std::uint32_t group = static_cast<std::uint32_t>(below(6));
    Bytes first, last;
    detail::put_cold_prefix(first, group, 11, -1);
    detail::put_cold_prefix(last, group + 1, 11, 1);
    Map found;
    const auto cursor = tier.scan(first, last);
    for (; cursor->valid(); cursor->next()) {
      ASSERT_TRUE(found.emplace(cursor->key(), cursor->value()).second);
    }
    ASSERT_EQ(found, Map(model.lower_bound(first), model.lower_bound(last)));
    const auto again = tier.scan(first, last);
    Bytes middle;
    detail::put_cold_prefix(middle, group, 11, 0);
    again->seek(middle);
    const auto at = model.lower_bound(middle);
    const bool has = at != model.end() && at->first < last;
    ASSERT_EQ(again->valid(), has);
    if (has) {
      ASSERT_EQ(again->key(), at->first);
    }
  }

  std::shared_ptr<RestoredColdImage> checkpoint(ColdTier& tier, std::shared_ptr<KnownColdFiles> known) {
    ColdFilesWriter writer(local_file_system(), state, "tmp", [](const std::string&) { return true; },
                           std::move(known));
    tier.write_checkpoint(writer);
    new_bytes = writer.new_bytes();
    return std::make_shared<RestoredColdImage>(local_file_system(), state, writer.take());
  }

  ColdPlace place(const std::string& name = "tier") { return {.job = "job", .name = name, .memory_bytes = 1 << 20, .log = {}}; }

  std::mt19937_64 random{testing::first_seed()};
  testing::TempDir directory;
  std::string state = directory / "state";
  std::shared_ptr<const ColdBackend> backend;
  std::uint64_t new_bytes = 0;
};

TEST_P(ColdTierContract, IsAnOrderedMapThroughCheckpointsAndRestores) {
  std::unique_ptr<ColdTier> tier = backend->open(place(), nullptr);
  auto known = std::make_shared<KnownColdFiles>();
  Map model;
  std::vector<std::pair<std::shared_ptr<RestoredColdImage>, Map>> checkpoints;
  for (int step = 0; step < 250; ++step) {
    switch (below(12)) {
      case 0:
        remove_ranges(*tier, model);
        break;
      case 1:
        checkpoints.emplace_back(checkpoint(*tier, known), model);
        break;
      case 2:
        if (!checkpoints.empty() && below(3) == 0) {  // any of them, also an old one
          const auto& [image, then] = checkpoints[below(checkpoints.size())];
          tier.reset();
          tier = backend->open(place(), image.get());
          known = std::make_shared<KnownColdFiles>();
          model = then;
        }
        break;
      case 3:
      case 4:
      case 5:
        change(*tier, model);
        break;
      case 6:
      case 7:
        expect_scans(*tier, model);
        break;
      default:
        look_up(*tier, model);
    }
    if (HasFatalFailure()) return;
  }
}

TEST_P(ColdTierContract, ACursorSeesTheTierAsItWas) {
  const auto tier = backend->open(place(), nullptr);
  Map model;
  for (int i = 0; i < 5; ++i) change(*tier, model);
  const Map then = model;
  const auto cursor = tier->scan(Bytes(1, '\0'), Bytes(1, '\xff'));
  for (int i = 0; i < 5; ++i) change(*tier, model);
  Map found;
  for (; cursor->valid(); cursor->next()) found.emplace(cursor->key(), cursor->value());
  EXPECT_EQ(found, then);
}

// A value is the time of its last update.
TEST_P(ColdTierContract, DropsNothingButWhatHasExpired) {
  constexpr std::uint32_t kTable = 11, kOther = 12;
  const auto expired = [](std::string_view value, std::int64_t before) {
    return View(value).take_number<std::int64_t>() <= before;
  };
  const auto tier = backend->open(place(), nullptr);
  std::map<Bytes, std::int64_t> model;
  std::int64_t now = 0;
  std::size_t gone = 0;
  // Until much of what may go is gone: compactions come when there are runs enough.
  for (int step = 0; step < 400 && gone < 500; ++step) {
    ColdRun run;
    std::set<std::uint64_t> numbers;
    for (int i = 0; i < 100; ++i) numbers.insert(below(4000));
    for (const std::uint64_t n : numbers) {
      Bytes key;
      detail::put_cold_prefix(key, static_cast<std::uint32_t>(n % 7), n % 5 == 0 ? kOther : kTable, 0);
      key += std::to_string(n);
      run.begin(n, false);
      run.bytes() += key;
      run.end_key();
      put_number(run.bytes(), ++now);
      run.end();
      model[key] = now;
    }
    tier->take_in(run);
    const std::int64_t before = now - 600;
    tier->expire({.table = kTable, .expired = expired, .before_us = before});
    std::map<Bytes, std::int64_t> found;
    const auto cursor = tier->scan(Bytes(1, '\0'), Bytes(1, '\xff'));
    for (; cursor->valid(); cursor->next()) {
      ASSERT_TRUE(found.emplace(cursor->key(), View(cursor->value()).take_number<std::int64_t>()).second);
    }
    gone = 0;
    for (const auto& [key, time] : model) {
      const auto at = found.find(key);
      if (at != found.end()) {
        ASSERT_EQ(at->second, time);
      } else {
        ASSERT_EQ(detail::cold_table(key), kTable);
        ASSERT_LE(time, before);
        ++gone;
      }
    }
    ASSERT_EQ(found.size() + gone, model.size());
  }
  EXPECT_GE(gone, 500u);
}

TEST_P(ColdTierContract, StartsEmptyOverWhatAnEarlierStartLeft) {
  Map model;
  const auto leave = [&] {
    const auto tier = backend->open(place(), nullptr);
    change(*tier, model);
  };
  leave();
  const auto tier = backend->open(place(), nullptr);
  EXPECT_FALSE(tier->scan(Bytes(1, '\0'), Bytes(1, '\xff'))->valid());
}

TEST_P(ColdTierContract, MovesToAnyParallelism) {
  constexpr std::uint32_t kGroups = 7;
  Map model;
  auto tier = backend->open(place(), nullptr);
  for (int i = 0; i < 8; ++i) change(*tier, model);
  std::vector<std::shared_ptr<RestoredColdImage>> images{
      checkpoint(*tier, std::make_shared<KnownColdFiles>())};
  std::vector<ColdPart> parts{{images.front().get(), {0, kGroups}}};
  tier.reset();
  for (const std::uint32_t parallelism : {3u, 2u, 5u, 1u}) {
    Map all;
    std::vector<ColdPart> next;
    std::vector<std::shared_ptr<RestoredColdImage>> next_images;
    for (std::uint32_t i = 0; i < parallelism; ++i) {
      const KeyGroupRange range{i * kGroups / parallelism, (i + 1) * kGroups / parallelism};
      const auto mine = restore_cold_tier(*backend, place("mine"), parts, range, {11});
      const auto cursor = mine->scan(Bytes(1, '\0'), Bytes(1, '\xff'));
      for (; cursor->valid(); cursor->next()) {
        const auto group = static_cast<std::uint32_t>(static_cast<unsigned char>(cursor->key()[1]));
        EXPECT_GE(group, range.first);
        EXPECT_LT(group, range.last);
        EXPECT_TRUE(all.emplace(cursor->key(), cursor->value()).second);
      }
      next_images.push_back(checkpoint(*mine, std::make_shared<KnownColdFiles>()));
      next.push_back({next_images.back().get(), range});
    }
    ASSERT_EQ(all, model) << parallelism;
    images = next_images;
    parts = next;
  }
}

INSTANTIATE_TEST_SUITE_P(Tiers, ColdTierContract, ::testing::Values("memory", "rocksdb"),
                         [](const auto& tier) { return tier.param; });

class RocksDb : public ColdTierContract {};

// A file of the cold tier that several checkpoints have is one, and is written once.
TEST_P(RocksDb, ChecksOnlyWhatIsNewIntoACheckpoint) {
  const auto tier = backend->open(place(), nullptr);
  const auto known = std::make_shared<KnownColdFiles>();
  Map model;
  ColdRun run;
  for (std::uint64_t n = 0; n < 20'000; ++n) {
    run.begin(n, false);
    run.bytes() += key(n);
    run.end_key();
    run.bytes() += std::to_string(n * 7919);
    run.end();
  }
  tier->take_in(run);
  const auto first = checkpoint(*tier, known);
  const std::uint64_t full = new_bytes;
  change(*tier, model);
  const auto second = checkpoint(*tier, known);
  EXPECT_LT(new_bytes, full / 10);
  const auto third = checkpoint(*tier, known);
  EXPECT_EQ(new_bytes, 0u);
  EXPECT_EQ(third->cold_files(), second->cold_files());
}

TEST_P(RocksDb, NamesWhatIsWrongWithItsOptions) {
  EXPECT_THROW(rocksdb::state({}), GraphError);
  EXPECT_THROW(rocksdb::state({.directory = "/x", .cache_sixteenths = 16}), GraphError);
  const auto unknown = rocksdb::state({.directory = directory / "cold", .column_family_options = "no_such=1"});
  try {
    unknown.cold->open(place(), nullptr);
    FAIL() << "an option that does not exist was taken";
  } catch (const StateError& error) {
    EXPECT_NE(std::string(error.what()).find("no_such"), std::string::npos) << error.what();
  }
}

TEST_P(RocksDb, DoesNotTakeAFolderThatIsInUse) {
  const auto tier = backend->open(place(), nullptr);
  try {
    backend->open(place(), nullptr);
    FAIL() << "two tiers in one folder";
  } catch (const StateError& error) {
    EXPECT_NE(std::string(error.what()).find("tier"), std::string::npos) << error.what();
  }
}

TEST_P(RocksDb, LeavesNothingBehind) {
  Map model;
  {
    const auto tier = backend->open(place(), nullptr);
    change(*tier, model);
  }
  EXPECT_FALSE(std::filesystem::exists(directory / "cold/job/tier"));
}

TEST_P(RocksDb, ClearsWhatAJobLeftAndNothingOfOthers) {
  std::filesystem::create_directories(directory / "cold/job/7-3");
  std::filesystem::create_directories(directory / "cold/job2/0-0");
  std::ofstream(directory / "cold/job/7-3/run-5") << "what was not taken in";
  std::ofstream(directory / "cold/job/7-3/000012.sst") << "half a file";
  backend->clear("job");
  EXPECT_FALSE(std::filesystem::exists(directory / "cold/job/7-3"));
  EXPECT_TRUE(std::filesystem::exists(directory / "cold/job2/0-0"));
  const auto tier = backend->open(place(), nullptr);
  EXPECT_THROW(backend->clear("job"), StateError) << "it is in use";
}

INSTANTIATE_TEST_SUITE_P(Tiers, RocksDb, ::testing::Values("rocksdb"));

}  // namespace
}  // namespace levada
