// Reading the state of checkpoints that jobs wrote, and writing savepoints that jobs begin with.
#include "levada/state_reader.h"

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include <gmock/gmock.h>

#include "levada/levada.h"
#include "levada/savepoint_writer.h"
#include "support/temp_dir.h"

namespace state_reader_test {

struct Order {
  std::string user;
  std::int64_t amount = 0;
  bool operator==(const Order&) const = default;
};
LEVADA_RECORD(Order, user, amount)
struct NewOrder {
  std::string currency = "EUR";
  std::optional<std::int64_t> amount;
  std::string user;
};
LEVADA_RECORD(NewOrder, currency, amount, user)

}  // namespace state_reader_test

namespace levada {
namespace {

using namespace state_reader_test;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using levada::testing::TempDir;

constexpr std::uint64_t kUsers = 50;

Order order_at(std::uint64_t i) { return {"user " + std::to_string(i % kUsers), static_cast<std::int64_t>(i)}; }

// Runs the job over orders [0, rows), and says the last sum of each user that came out.
std::map<std::string, std::int64_t> run_job(const std::string& directory, std::uint64_t rows, int parallelism,
                                            std::uint64_t windows_from = 1'000'000) {
  StreamEnvironment env({.parallelism = parallelism,
                         .checkpoint = {.interval = 1h, .directory = directory}});
  auto orders = env.generate<Order>(order_at, {.rows = rows, .splits = 1},
                                    event_time<Order>([](const Order& order) {
                                      return Timestamp{Duration{order.amount * 1000}};
                                    }));
  orders.uid("orders");
  auto keyed = orders.key_by(&Order::user);
  auto sums = keyed
                  .reduce([](Order sum, const Order& order) {
                    sum.amount += order.amount;
                    return sum;
                  })
                  .uid("sums")
                  .collect("out");
  keyed.window(tumbling(Duration{static_cast<std::int64_t>(windows_from)}))
      .aggregate(count(), levada::max(&Order::amount))
      .uid("counts")
      .discard()
      .uid("out counts");
  env.execute("job");
  std::map<std::string, std::int64_t> last;
  for (const Order& order : sums.rows()) last[order.user] = order.amount;
  return last;
}

std::int64_t sum_of(std::uint64_t user, std::uint64_t rows) {
  std::int64_t sum = 0;
  for (std::uint64_t i = user; i < rows; i += kUsers) sum += static_cast<std::int64_t>(i);
  return sum;
}

class StateReaderOfAJob : public ::testing::Test {
 protected:
  std::string job() const { return dir_.path() + "/job"; }
  TempDir dir_;
};

TEST_F(StateReaderOfAJob, ListsWhatIsThere) {
  run_job(dir_.path(), 1000, 3);
  const StateReader reader(job());
  EXPECT_EQ(reader.checkpoint().job_name, "job");
  EXPECT_EQ(reader.checkpoint().max_parallelism, 128u);
  EXPECT_TRUE(reader.checkpoint().final);
  std::map<std::string, std::uint32_t> nodes;
  for (const NodeInfo& node : reader.nodes()) nodes[node.uid] = node.parallelism;
  EXPECT_EQ(nodes, (std::map<std::string, std::uint32_t>{{"orders", 3}, {"sums", 3}, {"counts", 3}}));
  std::map<std::string, StateInfo> states;
  for (const StateInfo& state : reader.states()) states[state.uid + "/" + state.name] = state;
  ASSERT_EQ(states.size(), 4u);
  EXPECT_TRUE(states.at("sums/rolling").keyed);
  EXPECT_EQ(states.at("sums/rolling").schema, "string -> {user:string,amount:int64}?");
  EXPECT_EQ(states.at("sums/rolling").entries, kUsers);
  EXPECT_GT(states.at("sums/rolling").bytes, kUsers * 8);
  EXPECT_FALSE(states.at("orders/splits").keyed);
  EXPECT_EQ(states.at("orders/splits").entries, 3u);
  EXPECT_EQ(states.at("counts/windows").schema, "string -> (int64,max int64,)");
  EXPECT_EQ(states.at("counts/watermark").entries, 3u);
  EXPECT_EQ(reader.operator_state("counts", "watermark").size(), 3u);
}

TEST_F(StateReaderOfAJob, ReadsKeysAndValuesWithTheirTypesAndWithThoseOfToday) {
  run_job(dir_.path(), 1000, 2);
  const StateReader reader(job());
  std::map<std::string, std::int64_t> sums;
  reader.read<std::string, std::optional<Order>>("sums", "rolling",
                                                 [&](const std::string& user, const std::optional<Order>& sum) {
                                                   EXPECT_EQ(sum->user, user);
                                                   EXPECT_TRUE(sums.emplace(user, sum->amount).second);
                                                 });
  ASSERT_EQ(sums.size(), kUsers);
  for (std::uint64_t user = 0; user < kUsers; ++user) {
    EXPECT_EQ(sums.at("user " + std::to_string(user)), sum_of(user, 1000));
  }
  std::size_t count = 0;
  reader.read<std::string, std::optional<NewOrder>>(
      "sums", "rolling", [&](std::int64_t name_space, const std::string& user, const auto& order) {
        EXPECT_EQ(name_space, 0);
        EXPECT_EQ(order->currency, "EUR");
        EXPECT_EQ(order->amount, sums.at(user));
        ++count;
      });
  EXPECT_EQ(count, kUsers);
}

TEST_F(StateReaderOfAJob, ReadsJsonWithoutAnyTypes) {
  run_job(dir_.path(), 100, 1);
  const StateReader reader(job());
  std::map<std::string, std::string> values;
  reader.read_json("sums", "rolling", [&](const JsonEntry& entry) {
    values[std::string(entry.key)] = entry.value;
    View key(entry.key_bytes);
    EXPECT_EQ(json_text(key.take_string()), entry.key);
  });
  EXPECT_EQ(values.size(), kUsers);
  EXPECT_EQ(values.at("\"user 7\""), R"({"user":"user 7","amount":64})");
}

TEST_F(StateReaderOfAJob, SaysWhatCannotBeRead) {
  run_job(dir_.path(), 100, 1);
  const StateReader reader(job());
  const auto error = [&](auto read) -> std::string {
    try {
      read();
    } catch (const StateError& failure) {
      return failure.what();
    }
    return "no error";
  };
  const auto ignore = [](const auto&, const auto&) { FAIL(); };
  EXPECT_THAT(error([&] { reader.read<std::string, std::int64_t>("sums", "rollin", ignore); }),
              HasSubstr("no keyed state 'rollin' of 'sums'; there is 'windows' of 'counts', 'rolling' of"));
  EXPECT_THAT(error([&] { reader.read<std::string, std::int64_t>("sums", "rolling", ignore); }),
              HasSubstr("{user:string,amount:int64}?, but the program's is string -> int64"));
  EXPECT_THAT(error([&] { reader.read<std::int64_t, std::optional<Order>>("sums", "rolling", ignore); }),
              HasSubstr("the key: string -> int64"));
  EXPECT_THAT(error([&] { reader.read_json("orders", "splits", {}); }), HasSubstr("no keyed state"));
  EXPECT_THAT(error([&] { StateReader(dir_.path()); }), HasSubstr("neither a savepoint"));
  EXPECT_THAT(error([&] { StateReader(dir_.path() + "/none"); }), HasSubstr("there is no checkpoint"));
}

TEST_F(StateReaderOfAJob, FindsDamage) {
  run_job(dir_.path(), 1000, 1);
  StateReader(job()).verify();
  // Small snapshots are in the manifest.
  for (const auto& file : std::filesystem::directory_iterator(job())) {
    if (file.path().filename().string().rfind("manifest-", 0) != 0) continue;
    std::fstream manifest(file.path(), std::ios::in | std::ios::out | std::ios::binary);
    manifest.seekp(40);
    manifest.put('\x7f');
  }
  EXPECT_THROW(StateReader{job()}, StateError);
}

// ---- SavepointWriter

TEST_F(StateReaderOfAJob, AJobGoesOnWithTheStateOfASavepointWriter) {
  {
    SavepointWriter writer(job(), {.job_name = "job"});
    auto sums = writer.keyed_state<std::string, std::optional<Order>>("sums", "rolling");
    for (std::uint64_t user = 0; user < kUsers; ++user) {
      const std::string name = "user " + std::to_string(user);
      sums.put(name, Order{name, 1});
      sums.put(name, Order{name, 1'000'000});  // the later counts
    }
    writer.finish();
  }
  EXPECT_TRUE(StateReader(job()).checkpoint().savepoint);
  const auto sums = run_job(dir_.path(), 1000, 2);
  ASSERT_EQ(sums.size(), kUsers);
  for (std::uint64_t user = 0; user < kUsers; ++user) {
    EXPECT_EQ(sums.at("user " + std::to_string(user)), 1'000'000 + sum_of(user, 1000));
  }
}

TEST_F(StateReaderOfAJob, ASavepointMayHaveAnySize) {
  constexpr std::int64_t kKeys = 300'000;
  const std::string path = dir_.path() + "/large";
  {
    SavepointWriter writer(path, {.job_name = "job"});
    auto numbers = writer.keyed_state<std::int64_t, std::string>("numbers", "texts");
    for (std::int64_t i = 0; i < kKeys; ++i) numbers.put(i, std::string(100, static_cast<char>('a' + i % 26)), i % 3);
    writer.finish();
  }
  const StateReader reader(path);
  reader.verify();
  EXPECT_EQ(reader.states().at(0).entries, static_cast<std::uint64_t>(kKeys));
  std::vector<bool> seen(kKeys);
  reader.read<std::int64_t, std::string>("numbers", "texts",
                                         [&](std::int64_t name_space, std::int64_t key, const std::string& text) {
                                           const auto at = static_cast<std::size_t>(key);
                                           ASSERT_FALSE(seen[at]);
                                           seen[at] = true;
                                           ASSERT_EQ(name_space, key % 3);
                                           ASSERT_EQ(text, std::string(100, static_cast<char>('a' + key % 26)));
                                         });
  EXPECT_EQ(std::count(seen.begin(), seen.end(), true), kKeys);
}

TEST_F(StateReaderOfAJob, CopiesStepsIntoANewSavepointAndLeavesTheOldOneAlone) {
  run_job(dir_.path(), 1000, 2);
  const TempDir other;
  const auto before = StateReader(job()).checkpoint();
  {
    const StateReader reader(job());
    SavepointWriter writer(other.path() + "/job", {.job_name = "job"});
    writer.copy(reader, "orders");
    writer.copy(reader, "counts");
    auto sums = writer.keyed_state<std::string, std::optional<Order>>("sums", "rolling");
    reader.read<std::string, std::optional<Order>>("sums", "rolling", [&](const std::string& user, auto order) {
      order->amount = -order->amount;
      sums.put(user, order);
    });
    writer.finish();
    EXPECT_THROW(writer.copy(reader, "sums"), StateError);
  }
  EXPECT_EQ(StateReader(job()).checkpoint().id, before.id);
  const StateReader copied(other.path() + "/job");
  copied.verify();
  EXPECT_EQ(copied.states().size(), 4u);
  // The source goes on behind what it had read.
  const auto sums = run_job(other.path(), 2000, 3);
  for (std::uint64_t user = 0; user < kUsers; ++user) {
    EXPECT_EQ(sums.at("user " + std::to_string(user)), sum_of(user, 2000) - 2 * sum_of(user, 1000));
  }
}

TEST_F(StateReaderOfAJob, ASavepointWriterRefusesWhatIsWrong) {
  run_job(dir_.path(), 100, 1);
  const StateReader reader(job());
  EXPECT_THROW(SavepointWriter{job()}, StateError);
  EXPECT_THROW(SavepointWriter(dir_.path() + "/x", {.max_parallelism = 0}), StateError);
  SavepointWriter writer(dir_.path() + "/new");
  writer.copy(reader, "sums", "rolling");
  EXPECT_THROW(writer.copy(reader, "sums"), StateError);
  EXPECT_THROW((writer.keyed_state<std::string, int>("sums", "rolling")), StateError);
  EXPECT_THROW(writer.copy(reader, "nobody"), StateError);
  EXPECT_THROW(StateReader{dir_.path() + "/new"}, StateError) << "it does not exist before it is finished";
  writer.finish();
  EXPECT_EQ(StateReader(dir_.path() + "/new").states().size(), 1u);
  SavepointWriter fewer(dir_.path() + "/fewer", {.max_parallelism = 64});
  EXPECT_THROW(fewer.copy(reader, "sums"), StateError);
}

}  // namespace
}  // namespace levada
