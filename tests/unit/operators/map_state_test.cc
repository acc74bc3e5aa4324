// MapState with large maps: what it holds is what a std::map would hold, through snapshots, restores and time.
#include <gmock/gmock.h>

#include <cstdint>
#include <map>
#include <random>
#include <string>
#include <utility>
#include <vector>

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

// ---- what maps are of

struct Texts {
  using Key = std::string;
  using Value = std::string;
  static Key key(std::int64_t n) { return "the entry number " + std::to_string(1'000'000 + n); }
  static void change(Value& value, std::int64_t n) { value += " and then " + std::to_string(n); }
  static std::string show(const Value& value) { return value; }
};
struct Numbers {
  using Key = std::int64_t;
  using Value = std::uint32_t;
  static Key key(std::int64_t n) { return n - 500; }
  static void change(Value& value, std::int64_t n) { value = value * 7 + static_cast<Value>(n) + 1; }
  static std::string show(const Value& value) { return std::to_string(value); }
};

template <class Kind>
std::string line(const typename Kind::Key& key, const typename Kind::Value& value) {
  if constexpr (std::is_same_v<typename Kind::Key, std::string>) return key + "=" + Kind::show(value) + ";";
  else return std::to_string(key) + "=" + Kind::show(value) + ";";
}

/// `put` many, `change`, `erase` many, `clear`, and what is read: `find`, `range`, `all`.
template <class Kind>
struct Shelf {
  StateOptions options{};
  MapState<typename Kind::Key, typename Kind::Value> map{"map", options};

  void process(const Order& order, KeyedContext<std::string, Said>& ctx) {
    const auto key = [](std::int64_t n) { return Kind::key(n); };
    std::string text;
    const auto tell = [&](const auto& k, const auto& v) { text += line<Kind>(k, v); };
    if (order.verb == "put") {
      for (std::int64_t n = order.a; n < order.b; ++n) {
        typename Kind::Value value{};
        Kind::change(value, n);
        map.put(key(n), value);
      }
    }
    if (order.verb == "change") Kind::change(map.get(key(order.a)), order.b);
    if (order.verb == "change two") {  // both are written after both were asked for
      map.get(key(order.a)), map.get(key(order.b));
      auto& first = map.get(key(order.a));
      if (order.a != order.b) Kind::change(map.get(key(order.b)), 2);
      Kind::change(first, 1);
    }
    if (order.verb == "fill around") {  // what was asked for first is written last
      auto& first = map.get(key(order.a));
      for (std::int64_t n = order.a - 40; n < order.a + 40; ++n) {
        if (n != order.a) Kind::change(map.get(key(n)), n);
      }
      map.for_each([](const auto&, const auto&) {});
      map.erase(key(order.a - 1));
      for (std::int64_t n = 0; n < 50; ++n) Kind::change(first, n);
    }
    if (order.verb == "erase") {
      for (std::int64_t n = order.a; n < order.b; ++n) text += map.erase(key(n)) ? '+' : '-';
      ctx.emit({order.key, text});
    }
    if (order.verb == "clear") map.clear();
    if (order.verb == "find") {
      const auto* found = map.find(key(order.a));
      ctx.emit({order.key, found == nullptr ? "none" : line<Kind>(key(order.a), *found)});
    }
    if (order.verb == "range") {
      map.for_each(key(order.a), key(order.b), tell);
      ctx.emit({order.key, text});
    }
    if (order.verb == "some") {  // reads the map while it goes through it, and stops
      int left = 100;
      map.for_each([&](const auto& k, const auto& v) {
        text += line<Kind>(k, v);
        if (const auto* other = map.find(key(order.a))) text += Kind::show(*other);
        if (left % 10 == 0) map.for_each(key(order.a), key(order.b), tell);
        return --left > 0;
      });
      ctx.emit({order.key, text});
    }
    if (order.verb == "all") {
      map.for_each(tell);
      ctx.emit({order.key, map.empty() ? "empty" : text});
    }
  }
};

template <class Kind>
auto shelf(StateOptions options = {}) {
  return [options](DataStream<Order> orders) {
    return orders.key_by(&Order::key).process<Said>(Shelf<Kind>{.options = options}).uid("shelf");
  };
}

/// The same of one key, without the library. What is too old is not there.
template <class Kind>
struct Model {
  using Entry = std::pair<typename Kind::Value, std::int64_t>;  // when it was updated, in seconds
  std::map<typename Kind::Key, Entry> map;
  std::int64_t ttl = 0;  // 0: for ever
  bool reads_update = false;

  void forget(std::int64_t now) {
    if (ttl > 0) std::erase_if(map, [&](const auto& entry) { return entry.second.second <= now - ttl; });
  }

  // What the function says to an order, if anything.
  std::optional<std::string> take(const Order& order, std::int64_t now) {
    forget(now);
    std::string text;
    const auto read = [&](auto at) {
      if (reads_update) at->second.second = now;
      return line<Kind>(at->first, at->second.first);
    };
    const auto change = [&](std::int64_t a, std::int64_t b) {
      Entry& entry = map[Kind::key(a)];
      Kind::change(entry.first, b);
      entry.second = now;
    };
    if (order.verb == "put") {
      for (std::int64_t n = order.a; n < order.b; ++n) {
        map.erase(Kind::key(n));
        change(n, n);
      }
    }
    if (order.verb == "change") change(order.a, order.b);
    if (order.verb == "change two") {
      if (order.a != order.b) change(order.b, 2);
      change(order.a, 1);
    }
    if (order.verb == "fill around") {
      map[Kind::key(order.a)].second = now;
      for (std::int64_t n = order.a - 40; n < order.a + 40; ++n) {
        if (n != order.a) change(n, n);
      }
      for (auto at = map.begin(); at != map.end(); ++at) read(at);
      map.erase(Kind::key(order.a - 1));
      for (std::int64_t n = 0; n < 50; ++n) change(order.a, n);
    }
    if (order.verb == "erase") {
      for (std::int64_t n = order.a; n < order.b; ++n) text += map.erase(Kind::key(n)) > 0 ? '+' : '-';
      return text;
    }
    if (order.verb == "clear") map.clear();
    if (order.verb == "find") {
      const auto at = map.find(Kind::key(order.a));
      return at == map.end() ? "none" : read(at);
    }
    const auto range = [&] {
      if (order.a >= order.b) return;
      for (auto at = map.lower_bound(Kind::key(order.a)); at != map.end() && at->first < Kind::key(order.b); ++at) {
        text += read(at);
      }
    };
    if (order.verb == "range") {
      range();
      return text;
    }
    if (order.verb == "some") {
      int left = 100;
      for (auto at = map.begin(); at != map.end() && left-- > 0; ++at) {
        text += read(at);
        const auto other = map.find(Kind::key(order.a));
        if (other != map.end()) read(other), text += Kind::show(other->second.first);
        if ((left + 1) % 10 == 0) range();
      }
      return text;
    }
    if (order.verb == "all") {
      for (auto at = map.begin(); at != map.end(); ++at) text += read(at);
      return map.empty() ? "empty" : text;
    }
    return std::nullopt;
  }
};

constexpr std::int64_t kEntries = 1000;

Order random_order(std::mt19937_64& random) {
  const auto below = [&](std::uint64_t n) { return static_cast<std::int64_t>(random() % n); };
  const std::string key = "key " + std::to_string(below(3));
  const std::int64_t a = below(kEntries), b = below(kEntries);
  switch (below(17)) {
    case 0: return {key, "put", a, std::min(a + below(400), kEntries)};
    case 1: return {key, "erase", a, std::min(a + below(300), kEntries)};
    case 2: return {key, "put", a, a + 1};
    case 3: return {key, "erase", a, a + 1};
    case 4: return {key, "range", a, b};
    case 5: return {key, "range", a, a + below(20)};
    case 6: return {key, "all"};
    case 7: return {key, "some", a, a + below(10)};
    case 8: return below(10) == 0 ? Order{key, "clear"} : Order{key, "find", a};
    case 9: return {key, "change two", a, b};
    case 10: return {key, "find", a};
    case 11: return {key, "fill around", a};
    default: return {key, "change", a, b % 100};
  }
}

template <class Kind>
class Trial {
 public:
  Trial(std::uint64_t seed, StateOptions options, Model<Kind> model)
      : random_(seed),
        timed_(options.ttl > Duration{0}),
        harness_(shelf<Kind>(options),
                 {.parallelism = 2, .batch_rows = 1 + static_cast<int>(seed % 5), .now = Timestamp{100s}}),
        fresh_(std::move(model)) {}

  void run() {
    Models models;
    for (int round = 0; round < 4 && !::testing::Test::HasFailure(); ++round) {
      calls(models);
      if (random_() % 3 == 0) {
        harness_.begin_snapshot();
        calls(models);
        harness_.abort_snapshot();
      }
      harness_.begin_snapshot();
      Models later = models;
      if (!timed_) calls(later);  // is captured around, and lost
      const auto snapshot = harness_.finish_snapshot();
      harness_.restore(snapshot, 1 + static_cast<int>(random_() % 4));
      for (auto& [key, model] : models) call({key, "all"}, model);
    }
  }

 private:
  using Models = std::map<std::string, Model<Kind>>;

  void calls(Models& models) {
    for (int i = 0; i < 120; ++i) {
      const Order next = random_order(random_);
      call(next, models.try_emplace(next.key, fresh_).first->second);
      if (timed_ && random_() % 4 == 0) {
        harness_.advance_clock(1s);
        ++now_;
      }
    }
  }
  void call(const Order& order, Model<Kind>& model) {
    harness_.push(order);
    std::vector<Said> expected;
    if (auto text = model.take(order, now_)) expected.push_back({order.key, *std::move(text)});
    ASSERT_EQ(harness_.take(), expected) << order.verb << " " << order.a << " " << order.b << " at " << now_;
  }

  std::mt19937_64 random_;
  const bool timed_;
  std::int64_t now_ = 100;
  OperatorHarness<Order, Said> harness_;
  const Model<Kind> fresh_;
};

template <class Kind>
class LargeMaps : public ::testing::Test {
 protected:
  static void try_all(StateOptions options, const Model<Kind>& model) {
    const std::uint64_t first = testing::first_seed(), count = testing::seed_count(12);
    for (std::uint64_t seed = first; seed < first + count && !::testing::Test::HasFailure(); ++seed) {
      SCOPED_TRACE("LEVADA_SEED=" + std::to_string(seed));
      Trial<Kind>(seed, options, model).run();
    }
  }
};
using Kinds = ::testing::Types<Texts, Numbers>;
TYPED_TEST_SUITE(LargeMaps, Kinds);

TYPED_TEST(LargeMaps, HoldWhatTheModelHoldsThroughSnapshotsAndRestores) { this->try_all({}, {}); }

TYPED_TEST(LargeMaps, ForgetEntryByEntryWhatWasNotWritten) {
  this->try_all({.ttl = 20s}, {.map = {}, .ttl = 20, .reads_update = false});
}

TYPED_TEST(LargeMaps, ForgetEntryByEntryWhatWasNotRead) {
  this->try_all({.ttl = 20s, .update = TtlUpdate::kOnReadAndWrite}, {.map = {}, .ttl = 20, .reads_update = true});
}

TEST(LargeMap, GivesBackItsMemoryAndLeavesNothingBehind) {
  const auto used = [](const MemoryBudget& memory) { return memory.shares()[1]->used_bytes(); };
  OperatorHarness<Order, Said> harness(shelf<Texts>(), {.batch_rows = 1});
  harness.push({"a", "put", 0, 1});
  harness.snapshot();
  const std::size_t empty = used(harness.memory());
  for (std::int64_t round = 0; round < 3; ++round) {
    harness.push({"a", "put", 0, 20'000});
    for (std::int64_t i = 20'000; i < 30'000; i += 100) harness.push({"a", "fill around", i, 0});
    for (std::int64_t i = 0; i < 20'000; i += 7) harness.push({"a", "change", i, round});
    if (round == 0) harness.push({"a", "erase", 0, 31'000});
    if (round == 1) harness.push({"a", "clear"});
    if (round == 2) {
      for (std::int64_t i = 30'999; i >= 0; --i) harness.push({"a", "erase", i, i + 1});
    }
    harness.take();
    harness.push({"a", "all"});
    EXPECT_EQ(harness.take(), (std::vector<Said>{{"a", "empty"}}));
    const auto snapshot = harness.snapshot();
    testing::expect_entries(snapshot, 0);
    harness.restore(snapshot, 1);
    const std::size_t slots = testing::harness_has_cold_tier() ? 600'000 : 0;  // of the table of pages
    EXPECT_LE(used(harness.memory()), empty + 200'000 + slots) << "but for what is kept in advance";
  }
}

}  // namespace
}  // namespace levada
