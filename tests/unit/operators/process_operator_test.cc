// Functions with state and timers alone: what they see and emit, and what moves with its key.
#include <gmock/gmock.h>

#include "levada/levada.h"
#include "levada/testing/harness.h"
#include "support/snapshot_entries.h"

namespace levada {
namespace {

using levada::testing::HarnessOptions;
using levada::testing::OperatorHarness;
using levada::testing::Timed;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

struct Beat {
  std::string host;
  std::int64_t load = 0;
  bool operator==(const Beat&) const = default;
};
LEVADA_RECORD(Beat, host, load)

struct Note {
  std::string host, text;
  bool operator==(const Note&) const = default;
};
LEVADA_RECORD(Note, host, text)

using Keyed = KeyedContext<std::string, Note>;

constexpr OutputTag<Beat> kOdd{"odd"};

/// Alerts when a host is silent for 10 s.
struct Watchdog {
  Duration silence = 10s;
  ValueState<Timestamp> deadline{"deadline"};

  void process(const Beat& beat, Keyed& ctx) {
    if (beat.load < 0) return ctx.emit(kOdd, beat);
    if (const Timestamp* old = deadline.find()) ctx.delete_timer(*old);
    deadline.set(ctx.timestamp() + silence);
    ctx.set_timer(ctx.timestamp() + silence);
    ctx.emit({beat.host, "alive"});
  }
  void on_timer(Timestamp, Keyed& ctx) {
    ctx.emit({ctx.key(), "silent"});
    deadline.clear();
  }
};

constexpr auto kWatchdog = [](DataStream<Beat> beats) {
  return beats.key_by(&Beat::host).process<Note>(Watchdog{}).uid("watchdog");
};

class ProcessOperator : public ::testing::TestWithParam<int> {
 protected:
  HarnessOptions options(int parallelism = 1) const {
    return {.parallelism = parallelism, .batch_rows = GetParam()};
  }
};
INSTANTIATE_TEST_SUITE_P(BatchRows, ProcessOperator, ::testing::Values(1, 3, 1024));

TEST_P(ProcessOperator, ATimerFiresWhenTheWatermarkReachesItWithItsKeyAndTime) {
  OperatorHarness<Beat, Note> harness(kWatchdog, options());
  harness.push({"a", 1}, Timestamp{1s});
  harness.push({"b", 1}, Timestamp{2s});
  harness.watermark(Timestamp{11s} - 1us);
  EXPECT_THAT(harness.take_timed(), ElementsAre(Timed<Note>{{"a", "alive"}, Timestamp{1s}},
                                                Timed<Note>{{"b", "alive"}, Timestamp{2s}}));
  harness.watermark(Timestamp{11s});
  EXPECT_THAT(harness.take_timed(), ElementsAre(Timed<Note>{{"a", "silent"}, Timestamp{11s}}));
  harness.end_of_input();
  EXPECT_THAT(harness.take_timed(), ElementsAre(Timed<Note>{{"b", "silent"}, Timestamp{12s}}));
}

TEST_P(ProcessOperator, ADeletedTimerDoesNotFire) {
  OperatorHarness<Beat, Note> harness(kWatchdog, options());
  for (int second = 0; second < 5'000; second += 5) harness.push({"a", 1}, Timestamp{} + second * 1s);
  harness.take();
  harness.watermark(Timestamp{4'995s});
  EXPECT_THAT(harness.take(), IsEmpty());
  harness.watermark(Timestamp{5'005s});
  EXPECT_THAT(harness.take_timed(), ElementsAre(Timed<Note>{{"a", "silent"}, Timestamp{5'005s}}));
  testing::expect_entries(harness.snapshot(), 0);  // the state was cleared, the timers have gone
}

TEST_P(ProcessOperator, EmitsToASideOutputWithTheRowsTime) {
  OperatorHarness<Beat, Note> harness(kWatchdog, options(), kOdd);
  harness.push({"a", -1}, Timestamp{1s});
  EXPECT_THAT(harness.take(kOdd), ElementsAre(Beat{"a", -1}));
  EXPECT_THAT(harness.take(), IsEmpty());
}

TEST_P(ProcessOperator, StateAndTimersMoveWithTheirKeysToAnotherParallelism) {
  OperatorHarness<Beat, Note> harness(kWatchdog, options(2));
  std::int64_t now = 0;
  for (const int parallelism : {3, 1, 5, 2}) {
    for (int i = 0; i < 100; ++i) harness.push({std::to_string(i), 1}, Timestamp{} + now * 1s);
    harness.watermark(Timestamp{} + now * 1s);
    const auto snapshot = harness.snapshot();
    testing::expect_entries(snapshot, 200);  // a deadline and a timer a key
    harness.restore(snapshot, parallelism);
    harness.watermark(Timestamp{} + now * 1s);
    now += 9;
  }
  EXPECT_THAT(harness.take(), IsEmpty());
  harness.watermark(Timestamp{} + (now + 1) * 1s - 1us);
  EXPECT_THAT(harness.take(), IsEmpty()) << "every beat put the deadline off";
  harness.watermark(Timestamp{} + (now + 1) * 1s);
  EXPECT_EQ(harness.take().size(), 100u);
}

/// Notes what fires, and does what the row's text says: numbers are times of timers to be set, in seconds, those
/// with a minus are to be deleted.
struct Command {
  std::int64_t key = 0;
  std::vector<std::int64_t> set, erase, set_processing;
  bool operator==(const Command&) const = default;
};
LEVADA_RECORD(Command, key, set, erase, set_processing)

struct Fired {
  std::int64_t key = 0, second = 0;
  bool processing = false;
  std::int64_t watermark_us = 0;
  bool operator==(const Fired&) const = default;
};
LEVADA_RECORD(Fired, key, second, processing, watermark_us)

struct Timers {
  std::int64_t again = 0;  ///< a timer that fires at a time below this one sets the next second's
  void process(const Command& command, KeyedContext<std::int64_t, Fired>& ctx) {
    for (const std::int64_t at : command.set) ctx.set_timer(Timestamp{} + at * 1s);
    for (const std::int64_t at : command.erase) ctx.delete_timer(Timestamp{} + at * 1s);
    for (const std::int64_t at : command.set_processing) ctx.set_processing_timer(Timestamp{} + at * 1s);
  }
  void on_timer(Timestamp at, KeyedContext<std::int64_t, Fired>& ctx) {
    EXPECT_EQ(ctx.timestamp(), at);
    const std::int64_t second = at.time_since_epoch() / 1s;
    ctx.emit({ctx.key(), second, ctx.time_domain() == TimeDomain::kProcessingTime,
              ctx.watermark().time_since_epoch().count()});
    if (second < again) ctx.set_timer(at + 1s);
  }
};

auto timers_again(std::int64_t again) {
  return [again](DataStream<Command> commands) {
    return commands.key_by(&Command::key).process<Fired>(Timers{again}).uid("timers");
  };
}

std::vector<std::pair<std::int64_t, std::int64_t>> times_and_keys(const std::vector<Fired>& fired) {
  std::vector<std::pair<std::int64_t, std::int64_t>> all;
  for (const Fired& one : fired) all.emplace_back(one.second, one.key);
  return all;
}

TEST_P(ProcessOperator, TimersFireByTimeKeyGroupAndKeyHoweverTheyWereSet) {
  OperatorHarness<Command, Fired> harness(timers_again(0), options());
  std::vector<std::pair<std::int64_t, std::int64_t>> expected;
  for (std::int64_t key = 0; key < 50; ++key) {
    for (std::int64_t i = 0; i < 10; ++i) {
      const std::int64_t at = key * 7 % 11 + i;
      harness.push({key, {at, at}, {}, {}});
      harness.push({key, {at}, {}, {}});  // set three times, fires once
      expected.emplace_back(at, key);
    }
  }
  std::sort(expected.begin(), expected.end(), [](const auto& a, const auto& b) {
    return std::pair{a.first, hash_of(a.second)} < std::pair{b.first, hash_of(b.second)};
  });
  harness.watermark(Timestamp{1h});
  EXPECT_EQ(times_and_keys(harness.take()), expected);
  harness.end_of_input();
  EXPECT_THAT(harness.take(), IsEmpty());
}

TEST_P(ProcessOperator, ATimerSetInOnTimerForATimeThatIsDueFiresInTheSameAdvance) {
  OperatorHarness<Command, Fired> harness(timers_again(5), options());
  harness.push({1, {2}, {}, {}});
  harness.watermark(Timestamp{4s});
  EXPECT_THAT(harness.take(), ElementsAre(Fired{1, 2, false, 4'000'000}, Fired{1, 3, false, 4'000'000},
                                          Fired{1, 4, false, 4'000'000}));
  harness.watermark(Timestamp{60s});
  EXPECT_THAT(harness.take(), ElementsAre(Fired{1, 5, false, 60'000'000}));
}

TEST_P(ProcessOperator, ALateTimerFiresAtTheNextAdvance) {
  OperatorHarness<Command, Fired> harness(timers_again(0), options());
  harness.watermark(Timestamp{10s});
  harness.push({1, {3}, {}, {}});
  EXPECT_THAT(harness.take(), IsEmpty());
  harness.watermark(Timestamp{11s});
  EXPECT_THAT(harness.take(), ElementsAre(Fired{1, 3, false, 11'000'000}));
}

TEST_P(ProcessOperator, ATimerThatIsSetAgainAfterItWasDeletedFiresOnce) {
  OperatorHarness<Command, Fired> harness(timers_again(0), options());
  harness.push({1, {3, 4}, {3}, {}});
  harness.push({1, {3}, {4, 99}, {}});
  harness.push({1, {}, {3}, {}});
  harness.push({1, {3}, {}, {}});
  harness.watermark(Timestamp{11s});
  EXPECT_THAT(times_and_keys(harness.take()), ElementsAre(std::pair{3, 1}));
}

TEST_P(ProcessOperator, ProcessingTimersFireByTheClockAndTheirRowsHaveNoEventTime) {
  OperatorHarness<Command, Fired> harness(timers_again(0), options());
  harness.push({1, {}, {}, {5, 2}}, Timestamp{1s});
  harness.watermark(Timestamp{100s});
  harness.advance_clock(2s - 1us);
  EXPECT_THAT(harness.take(), IsEmpty());
  harness.advance_clock(1us);
  EXPECT_THAT(harness.take_timed(),
              ElementsAre(Timed<Fired>{{1, 2, true, 100'000'000}, kNoTimestamp}));
  harness.advance_clock(1s);
  EXPECT_THAT(harness.take(), IsEmpty());
  harness.end_of_input();
  EXPECT_THAT(harness.take(), IsEmpty()) << "the end of the input is no time of the clock";
  harness.advance_clock(1h);
  EXPECT_THAT(harness.take(), IsEmpty()) << "nothing is emitted behind the end";
}

TEST_P(ProcessOperator, ProcessingTimersFireInTheOrderOfTheirTimesAndCanBeSetWhileTheyFire) {
  struct Ticks {
    void process(const Command& command, KeyedContext<std::int64_t, Fired>& ctx) {
      ctx.set_processing_timer(ctx.now() + command.set.at(0) * 1s);
    }
    void on_timer(Timestamp at, KeyedContext<std::int64_t, Fired>& ctx) {
      ctx.emit({ctx.key(), at.time_since_epoch() / 1s, true, 0});
      if (at < Timestamp{4s}) ctx.set_processing_timer(at + 1s);
      ctx.delete_processing_timer(at + 3s);
    }
  };
  OperatorHarness<Command, Fired> harness(
      [](DataStream<Command> commands) {
        return commands.key_by(&Command::key).process<Fired>(Ticks{}).uid("ticks");
      },
      options());
  harness.push({1, {1}, {}, {}});
  harness.push({1, {9}, {}, {}});
  harness.push({1, {4}, {}, {}});
  harness.push({1, {7}, {}, {}});
  harness.advance_clock(2s);
  EXPECT_THAT(times_and_keys(harness.take()), ElementsAre(std::pair{1, 1}, std::pair{2, 1}));
  harness.advance_clock(60s);
  EXPECT_THAT(times_and_keys(harness.take()), ElementsAre(std::pair{3, 1}, std::pair{4, 1}, std::pair{9, 1}));
}

TEST_P(ProcessOperator, ProcessingTimersThatBecameDueMeanwhileFireAtOnceAfterARestore) {
  OperatorHarness<Command, Fired> harness(timers_again(0), options(2));
  for (std::int64_t key = 0; key < 20; ++key) harness.push({key, {}, {}, {5}});
  const auto snapshot = harness.snapshot();
  harness.advance_clock(4s);
  harness.restore(snapshot, 3);
  harness.advance_clock(0s);
  EXPECT_THAT(harness.take(), IsEmpty());
  harness.restore(snapshot, 3);
  harness.advance_clock(1s);
  EXPECT_EQ(harness.take().size(), 20u);
}

TEST_P(ProcessOperator, TheWatermarkThatAFunctionSeesDoesNotGoBackOverARestore) {
  OperatorHarness<Command, Fired> harness(timers_again(0), options(2));
  harness.watermark(Timestamp{30s});
  const auto snapshot = harness.snapshot();
  harness.restore(snapshot, 1);
  harness.push({1, {3}, {}, {}});
  harness.watermark(Timestamp{20s});
  EXPECT_THAT(harness.take(), IsEmpty()) << "event time has not advanced";
  harness.watermark(Timestamp{31s});
  EXPECT_THAT(harness.take(), ElementsAre(Fired{1, 3, false, 31'000'000}));
}

TEST_P(ProcessOperator, TimersSetWhileTheSnapshotIsCapturedAreNotInIt) {
  OperatorHarness<Command, Fired> harness(timers_again(0), options(2));
  for (std::int64_t key = 0; key < 300; ++key) harness.push({key, {key, key + 1}, {}, {}});
  harness.begin_snapshot();
  for (std::int64_t key = 0; key < 600; ++key) harness.push({key, {key + 2}, {key}, {}});
  const auto snapshot = harness.finish_snapshot();
  harness.take();
  harness.restore(snapshot, 3);
  harness.watermark(Timestamp{1h});
  std::vector<std::pair<std::int64_t, std::int64_t>> expected;
  for (std::int64_t key = 0; key < 300; ++key) {
    expected.emplace_back(key, key);
    expected.emplace_back(key + 1, key);
  }
  EXPECT_THAT(times_and_keys(harness.take()), ::testing::UnorderedElementsAreArray(expected));
}

TEST_P(ProcessOperator, ASnapshotThatIsGivenUpLeavesTheNextOneWhole) {
  OperatorHarness<Command, Fired> harness(timers_again(0), options());
  for (std::int64_t key = 0; key < 100; ++key) harness.push({key, {1}, {}, {}});
  harness.begin_snapshot();
  for (std::int64_t key = 50; key < 150; ++key) harness.push({key, {2}, {1}, {}});
  harness.abort_snapshot();
  const auto snapshot = harness.snapshot();
  harness.restore(snapshot, 2);
  harness.watermark(Timestamp{1h});
  EXPECT_EQ(harness.take().size(), 150u);
}

/// Emits as many rows as the row says, and in finish() one a subtask.
struct Many {
  void process(const Command& command, KeyedContext<std::int64_t, std::int64_t>& ctx) {
    for (std::int64_t i = 0; i < command.set.at(0); ++i) ctx.emit(command.key);
    ctx.set_timer(Timestamp{} + command.key * 1us);
  }
  void on_timer(Timestamp, KeyedContext<std::int64_t, std::int64_t>& ctx) {
    ctx.emit(-ctx.key());
    ctx.emit(-ctx.key());
  }
  void finish(Context<std::int64_t>& ctx) { ctx.emit(1'000 + ctx.subtask()); }
};

TEST_P(ProcessOperator, GoesOnWhereItStoppedForAFullOutputAndFinishesOnce) {
  const auto step = [](DataStream<Command> commands) {
    return commands.key_by(&Command::key).process<std::int64_t>(Many{}).uid("many");
  };
  OperatorHarness<Command, std::int64_t> harness(step, options());
  std::vector<std::int64_t> expected;
  for (std::int64_t key = 1; key <= 20; ++key) {
    harness.push({key, {key % 8}, {}, {}});
    expected.insert(expected.end(), static_cast<std::size_t>(key % 8), key);
  }
  EXPECT_EQ(harness.take(), expected);
  harness.end_of_input();
  expected.clear();
  for (std::int64_t key = 1; key <= 20; ++key) expected.insert(expected.end(), 2, -key);
  expected.push_back(1'000);
  EXPECT_EQ(harness.take(), expected);
  const auto snapshot = harness.snapshot();
  for (const int parallelism : {1, 3}) {
    harness.restore(snapshot, parallelism);
    harness.end_of_input();
    EXPECT_THAT(harness.take(), IsEmpty()) << "it had finished before the checkpoint";
  }
}

/// Only state, of a kind of key that tables keep as encoded bytes.
struct Counter2 {
  ValueState<std::int64_t> count{"count"};
  ValueState<std::string> longest{"longest"};
  void process(const Beat& beat, KeyedContext<std::tuple<std::string, std::int64_t>, Note>& ctx) {
    ++count.get();
    const std::string* known = longest.find();
    if (known == nullptr || known->size() < beat.host.size()) longest.set(beat.host);
    ctx.emit({longest.get(), std::to_string(*count.find())});
    if (*count.find() == 3) count.clear();
  }
};

TEST_P(ProcessOperator, ValuesAreFoundSetAndClearedByKeysOfSeveralColumns) {
  const auto step = [](DataStream<Beat> beats) {
    return beats.key_by([](const Beat& beat) { return beat.host.substr(0, 1); }, &Beat::load)
        .process<Note>(Counter2{})
        .uid("counter");
  };
  OperatorHarness<Beat, Note> harness(step, options(2));
  const std::string longer = "a" + std::string(100, 'x');
  for (const std::string& host : {std::string("a"), longer, std::string("ab"), std::string("ac")}) {
    harness.push({host, 1});
  }
  harness.push({"a", 2});
  EXPECT_THAT(harness.take(),
              UnorderedElementsAre(Note{"a", "1"}, Note{longer, "2"}, Note{longer, "3"},
                                   Note{longer, "1"}, Note{"a", "1"}));
}

TEST(ProcessOperatorLimits, StateIsChargedAndGivenBackWhenItIsCleared) {
  struct Keeper {
    ValueState<std::string> text{"text"};
    void process(const Beat& beat, Keyed& ctx) {
      static_cast<void>(ctx);
      if (beat.load == 0) return text.clear();
      text.get() += std::string(static_cast<std::size_t>(beat.load), 'x');
    }
  };
  const auto step = [](DataStream<Beat> beats) {
    return beats.key_by(&Beat::host).process<Note>(Keeper{}).uid("keeper");
  };
  const auto used = [](const MemoryBudget& memory) { return memory.shares()[1]->used_bytes(); };
  OperatorHarness<Beat, Note> harness(step, {.memory = 64_MiB});
  for (int i = 0; i < 100; ++i) harness.push({std::to_string(i % 10), 100'000});
  EXPECT_GT(used(harness.memory()), 10'000'000u);
  EXPECT_LT(used(harness.memory()), 25'000'000u);
  harness.restore(harness.snapshot(), 2);
  EXPECT_GT(used(harness.memory()), 10'000'000u);
  for (int i = 0; i < 10; ++i) harness.push({std::to_string(i), 0});
  EXPECT_LT(used(harness.memory()), 1'000'000u);
  const auto grow_for_ever = [&] {
    for (;;) harness.push({"a", 1'000'000});
  };
  EXPECT_THROW(grow_for_ever(), StateError);
}

TEST(ProcessOperatorLimits, TimersOfShortAndLongKeysAreChargedAndGivenBack) {
  const auto used = [](const MemoryBudget& memory) { return memory.shares()[1]->used_bytes(); };
  OperatorHarness<Beat, Note> harness(kWatchdog, {.memory = 64_MiB});
  for (int round = 0; round < 200; ++round) {
    const Timestamp at = Timestamp{} + round * 20s;
    for (int i = 0; i < 40; ++i) {
      harness.push({std::to_string(i) + std::string(i % 3 == 0 ? 200 : 0, '.'), 1}, at + i * 1ms);
    }
    harness.watermark(at + 15s);
    harness.take();
  }
  EXPECT_LT(used(harness.memory()), 200'000u);
}

TEST(ProcessOperatorErrors, KeyedStateWithoutKeySaysSo) {
  struct InFinish {
    ValueState<std::int64_t> count{"count"};
    void process(const Beat&, Keyed&) {}
    void finish(Context<Note>&) { count.get(); }
  };
  OperatorHarness<Beat, Note> harness([](DataStream<Beat> beats) {
    return beats.key_by(&Beat::host).process<Note>(InFinish{}).uid("x");
  });
  try {
    harness.end_of_input();
    FAIL() << "there was a key";
  } catch (const std::logic_error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("count"), HasSubstr("belongs to a key")));
  }
}

TEST(ProcessOperatorErrors, ATimerWithoutOnTimerSaysSo) {
  struct NoTimer {
    void process(const Beat&, Keyed& ctx) { ctx.set_timer(Timestamp{1s}); }
  };
  OperatorHarness<Beat, Note> harness(
      [](DataStream<Beat> beats) { return beats.key_by(&Beat::host).process<Note>(NoTimer{}); });
  try {
    harness.push({"a", 1});
    FAIL() << "it was set";
  } catch (const std::logic_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("no on_timer"));
  }
}

TEST(ProcessOperatorErrors, RefusesStateOfAnotherTypeAndShowsBoth) {
  struct Other {
    ValueState<std::string> deadline{"deadline"};
    void process(const Beat&, Keyed&) {}
  };
  OperatorHarness<Beat, Note> written(kWatchdog);
  written.push({"a", 1}, Timestamp{1s});
  const auto snapshot = written.snapshot();
  OperatorHarness<Beat, Note> reads([](DataStream<Beat> beats) {
    return beats.key_by(&Beat::host).process<Note>(Other{}).uid("watchdog");
  });
  try {
    reads.restore(snapshot, 1);
    FAIL() << "the state was taken";
  } catch (const StateError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("state/deadline"), HasSubstr("string -> timestamp"),
                                    HasSubstr("string -> string")));
  }
}

}  // namespace
}  // namespace levada
