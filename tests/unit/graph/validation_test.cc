#include "graph/validation.h"

#include <gmock/gmock.h>

#include "levada/levada.h"

namespace levada {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::string problems_of(const StreamEnvironment& env) {
  try {
    validate(*env.graph(), env.options());
  } catch (const GraphError& error) {
    return error.what();
  }
  return {};
}

const EnvironmentOptions kWithCheckpoints{.checkpoint = {.interval = 1s, .directory = "/tmp/x"}};

TEST(Validation, AnEmptyGraphIsAnError) {
  const StreamEnvironment env;
  EXPECT_THAT(problems_of(env), HasSubstr("no steps"));
}

TEST(Validation, AStreamThatNobodyReadsIsAnError) {
  StreamEnvironment env;
  env.from_values<int>({1, 2}).map([](int x) { return x; }).name("double");
  EXPECT_THAT(problems_of(env), AllOf(HasSubstr("nobody reads"), HasSubstr("double")));
}

TEST(Validation, SourcesAndSinksNeedAUidOnceCheckpointsAreOn) {
  StreamEnvironment env(kWithCheckpoints);
  env.from_values<int>({1}).name("numbers").discard().name("nowhere");
  EXPECT_THAT(problems_of(env), AllOf(HasSubstr("numbers"), HasSubstr("nowhere"), HasSubstr(".uid")));
}

TEST(Validation, AUidGivenTwiceIsAnErrorThatNamesBothSteps) {
  StreamEnvironment env;
  env.from_values<int>({1}).name("first").uid("same").discard().name("second").uid("same");
  EXPECT_THAT(problems_of(env), AllOf(HasSubstr("'same'"), HasSubstr("first"), HasSubstr("second")));
}

TEST(Validation, AUidWithControlCharactersOrTooLongIsAnError) {
  StreamEnvironment env;
  env.from_values<int>({1}).uid("a\nb").discard().uid(std::string(81, 'x'));
  EXPECT_THAT(problems_of(env), HasSubstr("1 to 80 bytes"));
}

TEST(Validation, AnEventTimeWindowNeedsWatermarksFromEverySource) {
  StreamEnvironment env;
  auto with = env.from_values<int>({1}, event_time<int>([](int) { return Timestamp{}; })).uid("with");
  auto without = env.from_values<int>({1}).uid("without");
  with.union_with(without)
      .key_by([](int x) { return x; })
      .window(tumbling(1s))
      .aggregate(count())
      .uid("totals")
      .discard();
  EXPECT_THAT(problems_of(env), AllOf(HasSubstr("'totals'"), HasSubstr("'without'"),
                                      ::testing::Not(HasSubstr("'with'"))));
}

TEST(Validation, ReadingATagThatIsNeverEmittedIsAnError) {
  static constexpr OutputTag<int> kTag{"nothing"};
  StreamEnvironment env;
  auto values = env.from_values<int>({1});
  values.discard();
  values.map([](int x) { return x; }).side_output(kTag).discard();
  EXPECT_THAT(problems_of(env), HasSubstr("\"nothing\""));
}

TEST(Validation, ReportsEverythingAtOnce) {
  EnvironmentOptions options = kWithCheckpoints;
  options.parallelism = 0;
  options.checkpoint.retained = 0;
  StreamEnvironment env(options);
  env.from_values<int>({1});
  try {
    validate(*env.graph(), env.options());
    FAIL() << "nothing was wrong";
  } catch (const GraphError& error) {
    EXPECT_GE(error.problems().size(), 4u) << error.what();
    EXPECT_THAT(error.problems().back().where.file_name(), HasSubstr("validation_test"));
  }
}

TEST(Validation, ParallelismAboveTheNumberOfKeyGroupsIsAnError) {
  StreamEnvironment env({.parallelism = 4, .max_parallelism = 3});
  env.from_values<int>({1}).discard();
  EXPECT_THAT(problems_of(env), HasSubstr("above max_parallelism 3"));
}

TEST(Validation, AGoodGraphHasNoProblems) {
  StreamEnvironment env(kWithCheckpoints);
  env.from_values<int>({1}).uid("in").map([](int x) { return x; }).discard().uid("out");
  EXPECT_EQ(problems_of(env), "");
}

// ---- functions with state

struct Counts {
  ValueState<int> one{"one"};
  ListState<int> two{"two"};
  void process(const int&, KeyedContext<int, int>&) {}
};
struct SameNames {
  ValueState<int> one{"same"};
  MapState<int, int> two{"same"};
  void process(const int&, KeyedContext<int, int>&) {}
};
class WithConstructor {
 public:
  explicit WithConstructor(int) {}
  void process(const int&, KeyedContext<int, int>&) { hidden_.get(); }

 private:
  ValueState<int> hidden_{"hidden"};
};

template <class F>
std::string problems_of_function(F function) {
  StreamEnvironment env(kWithCheckpoints);
  env.from_values<int>({1})
      .uid("numbers")
      .key_by([](int x) { return x; })
      .template process<int>(std::move(function))
      .discard()
      .uid("nowhere");
  return problems_of(env);
}

TEST(Validation, AFunctionWithStateOrTimersNeedsAUidOnceCheckpointsAreOn) {
  struct OnlyTimers {
    void process(const int&, KeyedContext<int, int>&) {}
    void on_timer(Timestamp, KeyedContext<int, int>&) {}
  };
  EXPECT_THAT(problems_of_function(Counts{}), AllOf(HasSubstr("process"), HasSubstr(".uid")));
  EXPECT_THAT(problems_of_function(OnlyTimers{}), AllOf(HasSubstr("process"), HasSubstr(".uid")));
  EXPECT_EQ(problems_of_function([](const int&, KeyedContext<int, int>&) {}), "");
}

TEST(Validation, TwoStatesOfOneNameAreAnErrorThatNamesThem) {
  EXPECT_THAT(problems_of_function(SameNames{}), AllOf(HasSubstr("two states"), HasSubstr("'same'")));
}

TEST(Validation, AStateThatTheEngineDoesNotFindIsAnErrorThatNamesIt) {
  EXPECT_THAT(problems_of_function(WithConstructor(1)),
              AllOf(HasSubstr("'hidden' is not found"), HasSubstr("without constructor")));
}

}  // namespace
}  // namespace levada
