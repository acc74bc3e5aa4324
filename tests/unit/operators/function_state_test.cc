// The kinds of state that a function can have: what they hold, how long, and where it goes when the parallelism
// changes.
#include <gmock/gmock.h>

#include <map>
#include <random>
#include <set>

#include "levada/levada.h"
#include "levada/testing/harness.h"
#include "support/seed.h"
#include "support/snapshot_entries.h"
#include "unit/operators/orders.h"

namespace levada {
namespace {

using levada::testing::HarnessOptions;
using levada::testing::OperatorHarness;
using levada::testing::Order;
using levada::testing::Said;
using levada::testing::TwoInputHarness;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

using Keyed = KeyedContext<std::string, Said>;

/// Too long for the inside of a std::string, so that memory outside of entries is counted.
std::string name_of(std::int64_t n) { return "element number " + std::to_string(n); }

struct LastTwo {
  using Accumulator = std::vector<std::int64_t>;
  void add(Accumulator& so_far, std::int64_t value) const {
    so_far.push_back(value);
    if (so_far.size() > 2) so_far.erase(so_far.begin());
  }
  std::int64_t result(const Accumulator& so_far) const {
    return so_far.size() < 2 ? so_far.back() : 1000 * so_far[0] + so_far[1];
  }
};

/// All kinds of keyed state, and timers. `say` tells all that the key has.
struct AllKinds {
  StateOptions options{};
  ValueState<std::string> value{"value", options};
  ListState<std::string> list{"list", options};
  MapState<std::int64_t, std::string> map{"map", options};
  ReducingState<std::int64_t> least{
      "least", [](std::int64_t x, const std::int64_t& y) { return std::min(x, y); }, options};
  AggregatingState<LastTwo> last_two{"last two", LastTwo{}, options};

  void process(const Order& order, Keyed& ctx) {
    const std::string& verb = order.verb;
    if (verb == "set") value.set(name_of(order.a));
    if (verb == "append") value.get() += name_of(order.a);
    if (verb == "clear value") value.clear();
    if (verb == "add") list.add(name_of(order.a));
    if (verb == "set list") list.set({name_of(order.a), name_of(order.b)});
    if (verb == "clear list") list.clear();
    if (verb == "put") map.put(order.a, name_of(order.b));
    if (verb == "append to map") map.get(order.a) += name_of(order.b);
    if (verb == "erase") map.erase(order.a);
    if (verb == "clear map") map.clear();
    if (verb == "reduce") least.add(order.a);
    if (verb == "clear least") least.clear();
    if (verb == "aggregate") last_two.add(order.a);
    if (verb == "clear last two") last_two.clear();
    if (verb == "timer") ctx.set_timer(Timestamp{} + order.a * 1s);
    if (verb == "no timer") ctx.delete_timer(Timestamp{} + order.a * 1s);
    if (verb == "say") ctx.emit({order.key, say()});
    if (verb == "range") {
      std::string text;
      map.for_each(order.a, order.b, [&](std::int64_t k, const std::string&) { text += std::to_string(k) + " "; });
      ctx.emit({order.key, text});
    }
  }
  void on_timer(Timestamp at, Keyed& ctx) {
    ctx.emit({ctx.key(), "timer " + std::to_string(at.time_since_epoch() / 1s)});
  }

  std::string say() {
    std::string text = "value ";
    if (const std::string* known = value.find()) text += *known;
    text += "; list";
    for (const std::string& element : list.get()) text += " " + element;
    text += "; map";
    map.for_each([&](std::int64_t k, const std::string& v) { text += " " + std::to_string(k) + "=" + v; });
    text += "; least ";
    if (least.find() != nullptr) text += std::to_string(*least.find());
    text += "; last two ";
    if (const auto result = last_two.get()) text += std::to_string(*result);
    return text;
  }
};

auto all_kinds(StateOptions options = {}) {
  return [options](DataStream<Order> orders) {
    return orders.key_by(&Order::key).process<Said>(AllKinds{.options = options}).uid("all kinds");
  };
}

/// The same of one key, without the library's states.
struct Model {
  std::optional<std::string> value;
  std::vector<std::string> list;
  std::map<std::int64_t, std::string> map;
  std::optional<std::int64_t> least;
  std::vector<std::int64_t> last_two;
  std::set<std::int64_t> timers;

  void take(const Order& order) {
    const std::string& verb = order.verb;
    if (verb == "set") value = name_of(order.a);
    if (verb == "append") value = value.value_or("") + name_of(order.a);
    if (verb == "clear value") value.reset();
    if (verb == "add") list.push_back(name_of(order.a));
    if (verb == "set list") list = {name_of(order.a), name_of(order.b)};
    if (verb == "clear list") list.clear();
    if (verb == "put") map[order.a] = name_of(order.b);
    if (verb == "append to map") map[order.a] += name_of(order.b);
    if (verb == "erase") map.erase(order.a);
    if (verb == "clear map") map.clear();
    if (verb == "reduce") least = std::min(least.value_or(order.a), order.a);
    if (verb == "clear least") least.reset();
    if (verb == "aggregate") LastTwo{}.add(last_two, order.a);
    if (verb == "clear last two") last_two.clear();
    if (verb == "timer") timers.insert(order.a);
    if (verb == "no timer") timers.erase(order.a);
  }
  std::string say() const {
    std::string text = "value " + value.value_or("") + "; list";
    for (const std::string& element : list) text += " " + element;
    text += "; map";
    for (const auto& [k, v] : map) text += " " + std::to_string(k) + "=" + v;
    text += "; least " + (least ? std::to_string(*least) : "");
    text += "; last two " + (last_two.empty() ? "" : std::to_string(LastTwo{}.result(last_two)));
    return text;
  }
};

constexpr std::array kVerbs{"set",       "append",      "clear value", "add",            "add",   "set list",
                            "clear list", "put",        "put",         "append to map",  "erase", "clear map",
                            "reduce",    "clear least", "aggregate",   "clear last two", "timer", "timer",
                            "no timer"};

Order random_order(std::mt19937_64& random, int keys) {
  const auto below = [&](std::uint64_t n) { return static_cast<std::int64_t>(random() % n); };
  return {"key " + std::to_string(below(static_cast<std::uint64_t>(keys))),
          kVerbs[static_cast<std::size_t>(below(kVerbs.size()))], below(10), below(100)};
}

std::vector<Said> all_said(const std::map<std::string, Model>& models) {
  std::vector<Said> said;
  for (const auto& [key, model] : models) said.push_back({key, model.say()});
  return said;
}
std::vector<Said> all_timers(const std::map<std::string, Model>& models) {
  std::vector<Said> said;
  for (const auto& [key, model] : models) {
    for (const std::int64_t at : model.timers) said.push_back({key, "timer " + std::to_string(at)});
  }
  std::sort(said.begin(), said.end());
  return said;
}

template <class Harness>
std::vector<Said> ask_all(Harness& harness, const std::map<std::string, Model>& models) {
  for (const auto& [key, model] : models) harness.push({key, "say"});
  std::vector<Said> said = harness.take();
  std::sort(said.begin(), said.end());
  return said;
}

TEST(FunctionState, AllKindsHoldWhatTheModelSaysThroughSnapshotsAndRestores) {
  const std::uint64_t first = testing::first_seed(), count = testing::seed_count(30);
  for (std::uint64_t seed = first; seed < first + count; ++seed) {
    SCOPED_TRACE("LEVADA_SEED=" + std::to_string(seed));
    std::mt19937_64 random(seed);
    OperatorHarness<Order, Said> harness(all_kinds(), {.parallelism = 2, .batch_rows = 1 + static_cast<int>(seed % 8)});
    std::map<std::string, Model> models;
    const auto run = [&](std::map<std::string, Model>& on) {
      for (int i = 0; i < 200; ++i) {
        const Order order = random_order(random, 20);
        harness.push(order);
        on[order.key].take(order);
      }
    };
    for (int round = 0; round < 5; ++round) {
      run(models);
      if (random() % 3 == 0) {
        harness.begin_snapshot();
        run(models);
        harness.abort_snapshot();
      }
      harness.begin_snapshot();
      std::map<std::string, Model> later = models;
      run(later);  // is captured around, and lost
      ASSERT_EQ(ask_all(harness, later), all_said(later));
      const auto snapshot = harness.finish_snapshot();
      harness.restore(snapshot, 1 + static_cast<int>(random() % 5));
      ASSERT_EQ(ask_all(harness, models), all_said(models));
    }
    harness.end_of_input();
    std::vector<Said> fired = harness.take();
    std::sort(fired.begin(), fired.end());
    ASSERT_EQ(fired, all_timers(models));
  }
}

TEST(FunctionState, RescalingBetweenAllPairsOfParallelismLeavesTheUnionAsItWas) {
  constexpr int kMost = 16;
  std::mt19937_64 random(7);
  for (int from = 1; from <= kMost; ++from) {
    OperatorHarness<Order, Said> harness(all_kinds(), {.parallelism = from, .batch_rows = 64});
    std::map<std::string, Model> models;
    for (int i = 0; i < 400; ++i) {
      const Order order = random_order(random, 50);
      harness.push(order);
      models[order.key].take(order);
    }
    const auto snapshot = harness.snapshot();
    for (int to = 1; to <= kMost; ++to) {
      harness.restore(snapshot, to);
      ASSERT_EQ(ask_all(harness, models), all_said(models)) << from << " to " << to;
      testing::expect_entries(harness.snapshot(), snapshot.entries());
      harness.end_of_input();
      std::vector<Said> fired = harness.take();
      std::sort(fired.begin(), fired.end());
      ASSERT_EQ(fired, all_timers(models)) << from << " to " << to;
    }
  }
}

TEST(FunctionState, AMapIsReadInOrderAndInRanges) {
  OperatorHarness<Order, Said> harness(all_kinds());
  for (const std::int64_t k : {5, -1, 9, 3, 7}) harness.push({"a", "put", k, k});
  harness.push({"b", "put", 4, 4});
  harness.push({"a", "range", 3, 9});
  harness.push({"a", "range", 6, 6});
  harness.push({"a", "range", -100, 100});
  harness.push({"c", "range", -100, 100});
  EXPECT_THAT(harness.take(),
              ElementsAre(Said{"a", "3 5 7 "}, Said{"a", ""}, Said{"a", "-1 3 5 7 9 "}, Said{"c", ""}));
}

TEST(FunctionState, MemoryIsChargedForWhatListsAndMapsHoldAndGivenBack) {
  const auto used = [](const MemoryBudget& memory) { return memory.shares()[1]->used_bytes(); };
  OperatorHarness<Order, Said> harness(all_kinds(), {.batch_rows = 16});
  harness.push({"a", "put", 0, 0});
  harness.push({"a", "add", 0, 0});
  harness.snapshot();
  const std::size_t empty = used(harness.memory());
  for (std::int64_t i = 0; i < 20'000; ++i) {
    harness.push({"a", "put", i, i});
    harness.push({"a", "append to map", i, i});
    harness.push({"a", "add", i, i});
  }
  harness.snapshot();
  const std::size_t full = used(harness.memory());
  EXPECT_GT(full, empty + 20'000 * (sizeof(std::pair<std::int64_t, std::string>) + 20 + sizeof(std::string) + 20));
  EXPECT_LT(full, empty + 20'000 * 400);
  for (std::int64_t i = 0; i < 20'000; ++i) harness.push({"a", "erase", i, 0});
  harness.push({"a", "clear list", 0, 0});
  harness.snapshot();
  EXPECT_LE(used(harness.memory()), empty + 40'000) << "but for what is kept in advance";
}

// ---- time to live

HarnessOptions at_100s(int batch_rows = 1) {
  return {.batch_rows = batch_rows, .now = Timestamp{100s}};
}

template <class Harness>
std::string ask(Harness& harness, const std::string& key = "a") {
  harness.push({key, "say"});
  const std::vector<Said> said = harness.take();
  return said.size() == 1 ? said[0].text : std::to_string(said.size()) + " answers";
}

const std::string kNothing = "value ; list; map; least ; last two ";

class TimeToLive : public ::testing::Test {
 protected:
  template <class Harness>
  static void fill(Harness& harness) {
    for (const char* verb : {"set", "add", "put", "reduce", "aggregate"}) harness.push({"a", verb, 1, 1});
  }
  const std::string full_ = "value " + name_of(1) + "; list " + name_of(1) + "; map 1=" + name_of(1) +
                            "; least 1; last two 1";
};

TEST_F(TimeToLive, ExpiredStateIsNotReturnedAndIsRemovedWhenRead) {
  OperatorHarness<Order, Said> harness(all_kinds({.ttl = 10s}), at_100s());
  fill(harness);
  harness.advance_clock(10s - 1us);
  EXPECT_EQ(ask(harness), full_) << "reading does not make it young";
  harness.advance_clock(1us);
  EXPECT_EQ(ask(harness), kNothing);
  testing::expect_entries(harness.snapshot(), 0);
}

TEST_F(TimeToLive, WritingMakesYoungAgain) {
  OperatorHarness<Order, Said> harness(all_kinds({.ttl = 10s}), at_100s());
  fill(harness);
  harness.advance_clock(6s);
  harness.push({"a", "append", 2});
  harness.push({"a", "append to map", 1, 2});
  harness.push({"a", "reduce", 5});
  harness.push({"a", "aggregate", 2});
  harness.advance_clock(6s);
  EXPECT_EQ(ask(harness), "value " + name_of(1) + name_of(2) + "; list; map 1=" + name_of(1) + name_of(2) +
                              "; least 1; last two 1002")
      << "the element of the list was not written";
}

TEST_F(TimeToLive, WhatIsWrittenAfterItExpiredBeginsAnew) {
  OperatorHarness<Order, Said> harness(all_kinds({.ttl = 10s}), at_100s());
  fill(harness);
  harness.advance_clock(10s);
  harness.push({"a", "append", 2});
  harness.push({"a", "add", 2});
  harness.push({"a", "append to map", 1, 2});
  harness.push({"a", "reduce", 5});
  harness.push({"a", "aggregate", 2});
  EXPECT_EQ(ask(harness), "value " + name_of(2) + "; list " + name_of(2) + "; map 1=" + name_of(2) +
                              "; least 5; last two 2");
}

TEST_F(TimeToLive, ReadingMakesYoungAgainWhenThatIsWanted) {
  OperatorHarness<Order, Said> harness(
      all_kinds({.ttl = 10s, .update = TtlUpdate::kOnReadAndWrite}), at_100s());
  fill(harness);
  for (int i = 0; i < 5; ++i) {
    harness.advance_clock(9s);
    EXPECT_EQ(ask(harness), full_);
    if (i == 2) harness.restore(harness.snapshot(), 2);
  }
  harness.advance_clock(10s);
  EXPECT_EQ(ask(harness), kNothing);
}

TEST_F(TimeToLive, ElementsOfListsAndEntriesOfMapsExpireOneByOne) {
  OperatorHarness<Order, Said> harness(all_kinds({.ttl = 10s}), at_100s());
  for (std::int64_t i = 0; i < 6; ++i) {
    harness.push({"a", "add", i});
    harness.push({"a", "put", 9 - i, i});
    harness.advance_clock(2s);
  }
  harness.push({"a", "range", 0, 100});
  EXPECT_THAT(harness.take(), ElementsAre(Said{"a", "4 5 6 7 "}));
  const std::string four = " " + name_of(2) + " " + name_of(3) + " " + name_of(4) + " " + name_of(5);
  EXPECT_THAT(ask(harness), HasSubstr("list" + four + ";"));
  const auto snapshot = harness.snapshot();
  harness.restore(snapshot, 3);
  EXPECT_THAT(ask(harness), HasSubstr("list" + four + ";"));
  harness.advance_clock(2s);
  EXPECT_THAT(ask(harness), HasSubstr("map 4=" + name_of(5) + " 5=" + name_of(4) + " 6=" + name_of(3) + ";"));
}

TEST_F(TimeToLive, WhatWasRemovedStaysAwayWhenTheRestHasExpired) {
  OperatorHarness<Order, Said> harness(all_kinds({.ttl = 10s}), at_100s());
  harness.push({"a", "put", 1, 1});
  harness.advance_clock(5s);
  harness.push({"a", "put", 2, 2});
  // A cold tier has both by then.
  for (std::int64_t i = 0; i < 3'000; ++i) harness.push({"key " + std::to_string(i), "put", i, i});
  harness.push({"a", "erase", 2});
  harness.advance_clock(6s);
  harness.restore(harness.snapshot(), 2);
  EXPECT_EQ(ask(harness), kNothing);
}

TEST_F(TimeToLive, SnapshotsLeaveOutWhatHasExpired) {
  OperatorHarness<Order, Said> harness(all_kinds({.ttl = 10s}), at_100s());
  fill(harness);
  harness.advance_clock(5s);
  for (std::int64_t i = 0; i < 100; ++i) harness.push({"key " + std::to_string(i), "set", i});
  harness.push({"a", "add", 2});
  testing::expect_entries(harness.snapshot(), 105);
  harness.advance_clock(5s);
  harness.begin_snapshot();
  for (std::int64_t i = 0; i < 50; ++i) harness.push({"key " + std::to_string(i), "set", i});
  harness.push({"a", "set", 1});  // in the place of what had expired when the snapshot began
  const auto snapshot = harness.finish_snapshot();
  testing::expect_entries(snapshot, 101);
  harness.restore(snapshot, 2);
  EXPECT_EQ(ask(harness), "value ; list " + name_of(2) + "; map; least ; last two ");
}

TEST_F(TimeToLive, WhatHadExpiredDoesNotComeBackWithAClockThatGoesBack) {
  OperatorHarness<Order, Said> before(all_kinds({.ttl = 10s}), at_100s());
  fill(before);
  before.advance_clock(9s);
  before.push({"b", "set", 1});
  const auto snapshot = before.snapshot();
  OperatorHarness<Order, Said> after(all_kinds({.ttl = 10s}), {.now = Timestamp{50s}});
  after.restore(snapshot, 1);
  EXPECT_EQ(ask(after), full_) << "it is 109 s, as the checkpoint says";
  after.advance_clock(58s);
  EXPECT_EQ(ask(after), full_);
  after.push({"c", "set", 1});
  after.advance_clock(3s);
  EXPECT_EQ(ask(after), kNothing);
  EXPECT_THAT(ask(after, "b"), HasSubstr(name_of(1)));
  EXPECT_THAT(ask(after, "c"), HasSubstr(name_of(1)));
}

TEST_F(TimeToLive, WhatHasExpiredIsRemovedInTheBackgroundToo) {
  const auto used = [](const MemoryBudget& memory) { return memory.shares()[1]->used_bytes(); };
  OperatorHarness<Order, Said> harness(all_kinds({.ttl = 10s}), at_100s(4));
  harness.push({"x", "reduce", 1});
  const std::size_t empty = used(harness.memory());
  for (std::int64_t i = 0; i < 300; ++i) {
    harness.push({"key " + std::to_string(i), "set list", i, i});
    harness.push({"key " + std::to_string(i), "put", i, i});
  }
  harness.snapshot();
  const std::size_t full = used(harness.memory());
  EXPECT_GT(full, empty + 300 * 200);
  harness.advance_clock(20s);
  for (std::int64_t i = 0; i < 100; ++i) harness.push({"x", "reduce", i});
  EXPECT_LT(used(harness.memory()), full - 300 * 100);
}

// ---- two inputs of one key

struct Pairs {
  ListState<std::string> left{"left"};
  ListState<std::string> right{"right"};

  void process_left(const Order& order, Keyed& ctx) {
    left.add(order.verb);
    for (const std::string& other : right.get()) ctx.emit({ctx.key(), order.verb + other});
    ctx.set_timer(Timestamp{} + order.a * 1s);
  }
  void process_right(const Said& said, Keyed& ctx) {
    right.add(said.text);
    for (const std::string& other : left.get()) ctx.emit({ctx.key(), other + said.text});
  }
  void on_timer(Timestamp, Keyed& ctx) {
    left.clear();
    right.clear();
    ctx.emit({ctx.key(), "end"});
  }
  void finish(Context<Said>& ctx) { ctx.emit({"", "finished"}); }
};

constexpr auto kPairs = [](DataStream<Order> orders, DataStream<Said> said) {
  return orders.key_by(&Order::key).connect(said.key_by(&Said::key)).process<Said>(Pairs{}).uid("pairs");
};

TEST(ConnectedStreamsOperator, BothInputsSeeTheStateOfTheKey) {
  for (const int batch_rows : {1, 3, 1024}) {
    TwoInputHarness<Order, Said, Said> harness(kPairs, {.parallelism = 2, .batch_rows = batch_rows});
    harness.push_left({"a", "1", 10}, Timestamp{1s});
    harness.push_right({"a", "x"}, Timestamp{2s});
    harness.push_right({"b", "y"}, Timestamp{2s});
    EXPECT_THAT(harness.take(), ElementsAre(Said{"a", "1x"}));
    harness.restore(harness.snapshot(), 3);
    harness.push_left({"b", "2", 10}, Timestamp{3s});
    harness.push_left({"a", "3", 10}, Timestamp{3s});
    harness.push_right({"a", "z"}, Timestamp{4s});
    EXPECT_THAT(harness.take(),
                UnorderedElementsAre(Said{"b", "2y"}, Said{"a", "3x"}, Said{"a", "1z"}, Said{"a", "3z"}));
    harness.watermark(Timestamp{10s});
    EXPECT_THAT(harness.take(), UnorderedElementsAre(Said{"a", "end"}, Said{"b", "end"}));
    testing::expect_entries(harness.snapshot(), 0);
    harness.end_of_input();
    EXPECT_EQ(harness.take(), std::vector<Said>(3, Said{"", "finished"})) << "once a subtask";
  }
}

struct Both {
  OperatorState<std::string> seen{"seen"};

  void process_left(const Order& order, Context<Said>& ctx) { note("left " + order.verb, ctx); }
  void process_right(const Said& said, Context<Said>& ctx) { note("right " + said.text, ctx); }
  void note(const std::string& what, Context<Said>& ctx) {
    seen.add(what);
    ctx.emit({what, std::to_string(seen.get().size())});
  }
};

TEST(ConnectedStreamsOperator, TwoStreamsWithoutKeysHaveOneFunction) {
  TwoInputHarness<Order, Said, Said> harness([](DataStream<Order> orders, DataStream<Said> said) {
    return orders.connect(said).process<Said>(Both{}).uid("both");
  });
  harness.push_left({"a", "1"});
  harness.push_right({"b", "2"});
  EXPECT_THAT(harness.take(), ElementsAre(Said{"left 1", "1"}, Said{"right 2", "2"}));
  harness.restore(harness.snapshot(), 1);
  harness.push_left({"a", "3"});
  EXPECT_THAT(harness.take(), ElementsAre(Said{"left 3", "3"}));
}

// ---- broadcast state

struct Limits {
  ValueState<std::int64_t> total{"total"};
  BroadcastState<std::string, std::int64_t> limits{"limits"};

  void process(const Order& order, Keyed& ctx) {
    const std::int64_t sum = total.get() += order.a;
    const std::int64_t* limit = limits.find(order.verb);
    ctx.emit({order.key, limit != nullptr && sum > *limit ? "over" : "within"});
  }
  void process_broadcast(const Said& said, BroadcastContext<Said>& ctx) {
    if (said.text.empty()) {
      limits.erase(said.key, ctx);
    } else {
      limits.put(said.key, std::stoll(said.text), ctx);
    }
    std::string all;
    limits.for_each([&](const std::string& name, std::int64_t limit) { all += name + std::to_string(limit) + " "; });
    ctx.emit({"limits", all});
  }
};

constexpr auto kLimits = [](DataStream<Order> orders, DataStream<Said> limits) {
  return orders.key_by(&Order::key).connect(limits.broadcast()).process<Said>(Limits{}).uid("limits");
};

TEST(BroadcastStateOperator, EverySubtaskHasAllOfIt) {
  TwoInputHarness<Order, Said, Said> harness(kLimits, {.parallelism = 3, .batch_rows = 2});
  harness.push_left({"a", "eu", 5});
  harness.push_right({"eu", "10"});
  harness.push_right({"us", "20"});
  EXPECT_THAT(harness.take(), UnorderedElementsAre(Said{"a", "within"}, Said{"limits", "eu10 "},
                                                   Said{"limits", "eu10 "}, Said{"limits", "eu10 "},
                                                   Said{"limits", "eu10 us20 "}, Said{"limits", "eu10 us20 "},
                                                   Said{"limits", "eu10 us20 "}));
  std::vector<Said> expected;
  for (int i = 0; i < 20; ++i) {
    harness.push_left({"key " + std::to_string(i), "us", 10 + i});
    expected.push_back({"key " + std::to_string(i), 10 + i > 20 ? "over" : "within"});
  }
  EXPECT_THAT(harness.take(), ::testing::UnorderedElementsAreArray(expected));
  harness.push_right({"us", ""});
  EXPECT_THAT(harness.take(), ElementsAre(Said{"limits", "eu10 "}, Said{"limits", "eu10 "}, Said{"limits", "eu10 "}));
}

TEST(BroadcastStateOperator, StaysWholeBetweenAllPairsOfParallelism) {
  for (int from = 1; from <= 16; ++from) {
    TwoInputHarness<Order, Said, Said> harness(kLimits, {.parallelism = from});
    std::string all;
    for (int i = 10; i < 20; ++i) {
      harness.push_right({"limit" + std::to_string(i), std::to_string(i)});
      all += "limit" + std::to_string(i) + std::to_string(i) + " ";
    }
    harness.push_left({"a", "limit15", 10});
    const auto snapshot = harness.snapshot();
    for (int to = 1; to <= 16; ++to) {
      harness.restore(snapshot, to);
      harness.push_left({"a", "limit15", 10});
      EXPECT_THAT(harness.take(), ElementsAre(Said{"a", "over"}));
      harness.push_right({"z", "1"});
      ASSERT_EQ(harness.take(), std::vector<Said>(static_cast<std::size_t>(to), Said{"limits", all + "z1 "}))
          << from << " to " << to;
    }
  }
}

TEST(BroadcastStateOperator, KeyedStateHasNoKeyInProcessBroadcast) {
  struct Wrong {
    ValueState<std::int64_t> total{"total"};
    void process(const Order&, Keyed&) {}
    void process_broadcast(const Said&, BroadcastContext<Said>&) { total.get() = 1; }
  };
  TwoInputHarness<Order, Said, Said> harness([](DataStream<Order> orders, DataStream<Said> said) {
    return orders.key_by(&Order::key).connect(said.broadcast()).process<Said>(Wrong{}).uid("wrong");
  });
  harness.push_left({"a", "", 1});
  try {
    harness.push_right({"a", "b"});
    FAIL() << "there was a key";
  } catch (const std::logic_error& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("total"), HasSubstr("process_broadcast")));
  }
}

TEST(BroadcastStateOperator, WorksForStreamsWithoutKey) {
  struct Filter {
    BroadcastState<std::string, std::int64_t> wanted{"wanted"};
    void process(const Order& order, Context<Said>& ctx) {
      if (wanted.contains(order.key)) ctx.emit({order.key, order.verb});
    }
    void process_broadcast(const Said& said, BroadcastContext<Said>& ctx) { wanted.put(said.key, 1, ctx); }
  };
  TwoInputHarness<Order, Said, Said> harness(
      [](DataStream<Order> orders, DataStream<Said> said) {
        return orders.connect(said.broadcast()).process<Said>(Filter{}).uid("filter");
      },
      {.parallelism = 2});
  harness.push_left({"a", "1"});
  harness.push_right({"a", ""});
  for (int i = 0; i < 4; ++i) harness.push_left({"a", "2"});
  harness.push_left({"b", "3"});
  EXPECT_EQ(harness.take(), std::vector<Said>(4, Said{"a", "2"}));
}

// ---- operator state

struct Buffers {
  OperatorState<std::string> mine{"mine"};
  OperatorState<std::int64_t> seen{"seen", {.redistribution = Redistribution::kUnion}};
  std::int64_t opened_with = -1;

  void open(OpenContext& ctx) {
    opened_with = static_cast<std::int64_t>(mine.get().size());
    EXPECT_EQ(ctx.restored(), !seen.get().empty());
    EXPECT_LT(ctx.subtask(), ctx.parallelism());
  }
  void process(const Order& order, Context<Said>& ctx) {
    if (order.verb == "add") mine.add(order.key);
    if (order.verb == "add") seen.add(order.a);
    if (order.verb != "say") return;
    std::string text = std::to_string(opened_with) + ":";
    for (const std::string& element : mine.get()) text += " " + element;
    ctx.emit({text, std::to_string(seen.get().size())});
  }
};

constexpr auto kBuffers = [](DataStream<Order> orders) {
  return orders.process<Said>(Buffers{}).uid("buffers");
};

TEST(OperatorStateOperator, ElementsAreSplitOrGivenToAllBetweenAllPairsOfParallelism) {
  for (int from = 1; from <= 16; ++from) {
    OperatorHarness<Order, Said> harness(kBuffers, {.parallelism = from});
    std::multiset<std::string> all;
    for (int i = 0; i < 37; ++i) {
      harness.push({"element-" + std::to_string(i), "add", i});
      all.insert("element-" + std::to_string(i));
    }
    const auto snapshot = harness.snapshot();
    for (int to = 1; to <= 16; ++to) {
      harness.restore(snapshot, to);
      for (int i = 0; i < to; ++i) harness.push({"", "say"});
      std::multiset<std::string> got;
      for (const Said& said : harness.take()) {
        EXPECT_EQ(said.text, "37") << "a union list is whole everywhere";
        std::size_t at = said.key.find(' '), elements = 0;
        while (at != std::string::npos) {
          const std::size_t next = said.key.find(' ', at + 1);
          got.insert(said.key.substr(at + 1, next == std::string::npos ? next : next - at - 1));
          at = next;
          ++elements;
        }
        EXPECT_EQ(said.key.substr(0, said.key.find(':')), std::to_string(elements)) << "open() saw them";
        EXPECT_LE(elements, static_cast<std::size_t>(37 / to + 1));
      }
      ASSERT_EQ(got, all) << from << " to " << to;
    }
  }
}

TEST(OperatorStateOperator, RefusesStateOfAnotherTypeAndShowsBoth) {
  struct Other {
    OperatorState<std::int64_t> mine{"mine"};
    void process(const Order&, Context<Said>&) {}
  };
  OperatorHarness<Order, Said> written(kBuffers);
  written.push({"x", "add"});
  const auto snapshot = written.snapshot();
  OperatorHarness<Order, Said> reads(
      [](DataStream<Order> orders) { return orders.process<Said>(Other{}).uid("buffers"); });
  try {
    reads.restore(snapshot, 1);
    FAIL() << "the state was taken";
  } catch (const StateError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("mine"), HasSubstr("[string]"), HasSubstr("[int64]")));
  }
}

}  // namespace
}  // namespace levada
