// Runs examples/levada_state on small savepoints and compares what it prints.
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "levada/savepoint_writer.h"
#include "levada/state_reader.h"
#include "support/command.h"
#include "support/temp_dir.h"

namespace levada_state_test {

struct Order {
  std::string user;
  double amount = 0;
};
LEVADA_RECORD(Order, user, amount)

}  // namespace levada_state_test

namespace levada {
namespace {

using levada_state_test::Order;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

using Outcome = testing::CommandOutcome;

class LevadaState : public ::testing::Test {
 protected:
  Outcome run(const std::string& arguments) {
    return testing::run_command("'" LEVADA_STATE_TOOL "' " + arguments, dir_.path() + "/output");
  }

  std::string path(const std::string& name) const { return dir_.path() + "/" + name; }

  // Two versions of some state.
  void write(const std::string& name, bool later) {
    SavepointWriter writer(path(name), {.job_name = "the \"job\"", .max_parallelism = 8});
    auto sums = writer.keyed_state<std::string, std::optional<Order>>("sums", "rolling");
    sums.put("ann", Order{"ann", 1.5});
    sums.put("bob", Order{"bob", later ? 3.0 : 2.0});
    if (!later) sums.put("cem", Order{"cem", 4});
    auto counts = writer.keyed_state<std::int64_t, std::tuple<std::int64_t>>("counts", "windows");
    counts.put(7, {1}, 10'000'000);
    if (later) counts.put(7, {2}, 20'000'000);
    writer.finish();
  }

  testing::TempDir dir_;
};

TEST_F(LevadaState, ListsWhatIsThere) {
  write("before", false);
  const Outcome outcome = run("ls " + path("before"));
  EXPECT_EQ(outcome.exit_code, 0);
  EXPECT_THAT(
      outcome.lines,
      ElementsAre(R"({"checkpoint":1,"job":"the \"job\"","savepoint":true,"max_parallelism":8})",
                  R"({"uid":"sums","name":"savepoint writer","parallelism":1})",
                  R"({"uid":"counts","name":"savepoint writer","parallelism":1})",
                  R"json({"uid":"counts","state":"windows","kind":"keyed","schema":"int64 -> (int64,)","entries":1,"bytes":16})json",
                  R"({"uid":"sums","state":"rolling","kind":"keyed","schema":"string -> {user:string,amount:double}?","entries":3,"bytes":51})"));
}

TEST_F(LevadaState, DumpsKeysAndValues) {
  write("after", true);
  const std::string ann = R"({"uid":"sums","state":"rolling","key":"ann","value":{"user":"ann","amount":1.5}})";
  const std::string bob = R"({"uid":"sums","state":"rolling","key":"bob","value":{"user":"bob","amount":3}})";
  const std::string first = R"({"uid":"counts","state":"windows","namespace":10000000,"key":7,"value":[1]})";
  const std::string second = R"({"uid":"counts","state":"windows","namespace":20000000,"key":7,"value":[2]})";
  EXPECT_THAT(run("dump " + path("after")).lines, UnorderedElementsAre(ann, bob, first, second));
  EXPECT_THAT(run("dump " + path("after") + " counts").lines, UnorderedElementsAre(first, second));
  EXPECT_THAT(run("dump " + path("after") + " sums rolling").lines, UnorderedElementsAre(ann, bob));
  EXPECT_THAT(run("dump " + path("after") + " sums windows").lines, IsEmpty());
}

TEST_F(LevadaState, ComparesTwoCheckpointsByStateAndKey) {
  write("before", false);
  write("after", true);
  const Outcome outcome = run("diff " + path("before") + " " + path("after"));
  EXPECT_EQ(outcome.exit_code, 1);
  EXPECT_THAT(
      outcome.lines,
      UnorderedElementsAre(
          R"({"change":"added","uid":"counts","state":"windows","namespace":20000000,"key":7,"after":[2]})",
          R"({"change":"changed","uid":"sums","state":"rolling","key":"bob","before":{"user":"bob","amount":2},"after":{"user":"bob","amount":3}})",
          R"({"change":"removed","uid":"sums","state":"rolling","key":"cem","before":{"user":"cem","amount":4}})"));
  const Outcome same = run("diff " + path("before") + " " + path("before"));
  EXPECT_EQ(same.exit_code, 0);
  EXPECT_THAT(same.lines, IsEmpty());
}

TEST_F(LevadaState, SaysWhatIsWrong) {
  EXPECT_EQ(run("").exit_code, 2);
  EXPECT_EQ(run("mend " + path("x")).exit_code, 2);
  const Outcome outcome = run("ls " + path("nothing"));
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.lines, ElementsAre(HasSubstr("levada_state: there is no checkpoint or savepoint")));
}

TEST_F(LevadaState, VerifiesEveryFile) {
  {
    SavepointWriter writer(path("large"));
    auto numbers = writer.keyed_state<std::int64_t, std::int64_t>("numbers", "all");
    for (std::int64_t i = 0; i < 10'000; ++i) numbers.put(i, i);
    writer.finish();
  }
  EXPECT_EQ(run("verify " + path("large")).exit_code, 0);
  const std::filesystem::path file = std::filesystem::directory_iterator(path("large") + "/state")->path();
  std::fstream state(file, std::ios::in | std::ios::out | std::ios::binary);
  state.seekg(1000);
  const char byte = static_cast<char>(state.get());
  state.seekp(1000);
  state.put(static_cast<char>(byte ^ 1));
  state.close();
  const Outcome outcome = run("verify " + path("large"));
  EXPECT_EQ(outcome.exit_code, 2);
  EXPECT_THAT(outcome.lines, ElementsAre(HasSubstr(file.filename().string())));
}

}  // namespace
}  // namespace levada
