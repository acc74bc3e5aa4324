// Runs examples/levada_state on a checkpoint of a job whose state is in RocksDB.
#include <filesystem>
#include <memory>
#include <string>

#include <gmock/gmock.h>

#include "levada/levada.h"
#include "levada/rocksdb.h"
#include "support/command.h"
#include "support/temp_dir.h"

namespace levada_state_rocksdb_test {

struct Order {
  std::string user;
  std::int64_t amount = 0;
};
LEVADA_RECORD(Order, user, amount)

}  // namespace levada_state_rocksdb_test

namespace levada {
namespace {

using levada_state_rocksdb_test::Order;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

TEST(LevadaStateWithRocksDb, ReadsACheckpointWhereItLies) {
  const testing::TempDir directory;
  {
    StreamEnvironment env({.checkpoint = {.directory = directory / "checkpoints"},
                           .state = rocksdb::state({.directory = directory / "cold"})});
    env.from_values<Order>({{"ann", 1}, {"bob", 2}, {"ann", 3}})
        .uid("orders")
        .key_by(&Order::user)
        .reduce([](Order sum, const Order& order) {
          sum.amount += order.amount;
          return sum;
        })
        .uid("sums")
        .discard()
        .uid("out");
    env.execute("job");
  }
  const std::string tool = "'" LEVADA_STATE_TOOL "' ", path = " '" + directory / "checkpoints/job" + "'";
  const std::string with = tool + "--rocksdb '" + directory / "reading" + "' ";
  const auto run = [&](const std::string& command) { return testing::run_command(command, directory / "output"); };

  EXPECT_THAT(run(tool + "ls" + path).lines, Contains(HasSubstr(R"("state":"rolling","kind":"keyed")")));
  EXPECT_THAT(run(tool + "ls" + path).lines, Contains(HasSubstr(R"("in":"cold tier")")));
  const auto blind = run(tool + "dump" + path + " sums");
  EXPECT_EQ(blind.exit_code, 2);
  EXPECT_THAT(blind.lines, ElementsAre(HasSubstr("cold tier")));

  EXPECT_THAT(run(with + "ls" + path).lines,
              Contains(AllOf(HasSubstr(R"("state":"rolling")"), HasSubstr(R"("entries":2)"))));
  EXPECT_THAT(run(with + "dump" + path + " sums").lines,
              UnorderedElementsAre(
                  R"({"uid":"sums","state":"rolling","key":"ann","value":{"user":"ann","amount":4}})",
                  R"({"uid":"sums","state":"rolling","key":"bob","value":{"user":"bob","amount":2}})"));
  const auto same = run(with + "diff" + path + path);
  EXPECT_EQ(same.exit_code, 0);
  EXPECT_THAT(same.lines, IsEmpty());
  for (const auto& left : std::filesystem::recursive_directory_iterator(directory / "reading")) {
    EXPECT_TRUE(left.is_directory()) << left.path();
  }
}

}  // namespace
}  // namespace levada
