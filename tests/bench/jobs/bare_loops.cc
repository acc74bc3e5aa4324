// The jobs without any library: what plain C++ on one thread needs. Batches of 1,024 rows, one flat table
// with linear probing and prefetch, tables of windows kept and cleared, never freed.
#include <algorithm>
#include <deque>
#include <memory>
#include <stdexcept>
#include <vector>

#include "rows.h"

namespace bench {
namespace {

constexpr std::size_t kBatchRows = 1024;
constexpr std::size_t kAhead = 16;
constexpr std::int64_t kSecond = 1'000'000;
constexpr std::size_t kSlidesInWindow = 10;

struct Sum {
  void add(std::int64_t value) {
    total += value;
    ++count;
  }
  void merge(const Sum& more) {
    total += more.total;
    count += more.count;
  }
  void retract(const Sum& less) {
    total -= less.total;
    count -= less.count;
  }
  std::int64_t total = 0;
  std::int64_t count = 0;
};

struct Max {
  void add(std::int64_t value) {
    if (value > total) total = value;
    ++count;
  }
  void merge(const Max& more) {
    if (more.total > total) total = more.total;
    count += more.count;
  }
  std::int64_t total = INT64_MIN;
  std::int64_t count = 0;
};

std::uint64_t hash(std::uint64_t key) { return mix(key); }
std::uint64_t hash(const std::string& key) { return levada::hash_of(key); }

// No key is this one: it marks an empty entry.
void make_empty(std::uint64_t& key) { key = ~std::uint64_t{0}; }
bool is_empty(std::uint64_t key) { return key == ~std::uint64_t{0}; }
void make_empty(std::string& key) { key.clear(); }
bool is_empty(const std::string& key) { return key.empty(); }

template <class K, class A>
class FlatTable {
 public:
  struct Entry {
    Entry() { make_empty(key); }
    K key;
    A value;
  };

  explicit FlatTable(std::uint64_t keys) {
    std::size_t slots = 16;
    while (slots < keys * 2) slots *= 2;
    slots_.resize(slots);
  }

  void prefetch(std::uint64_t h) const { __builtin_prefetch(&slots_[h & (slots_.size() - 1)], 1); }
  A& at(const K& key, std::uint64_t h) {
    const std::size_t mask = slots_.size() - 1;
    std::size_t i = h & mask;
    while (slots_[i].key != key) {
      if (is_empty(slots_[i].key)) {
        slots_[i].key = key;
        break;
      }
      i = (i + 1) & mask;
    }
    return slots_[i].value;
  }
  void clear() {
    for (Entry& entry : slots_) {
      make_empty(entry.key);
      entry.value = A{};
    }
  }
  std::vector<Entry>& slots() { return slots_; }

 private:
  std::vector<Entry> slots_;
};

template <class R, class G, class F>
void each_batch_of(const G& generator, std::uint64_t rows, F f) {
  std::vector<R> batch(kBatchRows);
  for (std::uint64_t first = 0; first < rows; first += kBatchRows) {
    const std::size_t count = std::min<std::uint64_t>(kBatchRows, rows - first);
    for (std::size_t i = 0; i < count; ++i) {
      if constexpr (std::is_same_v<R, Row>) {
        batch[i] = generator.row(first + i);
      } else {
        generator.text_row(first + i, batch[i]);
      }
    }
    f(batch.data(), count);
  }
}

// Calls f with each batch of generated rows.
template <class R, class F>
void each_batch(const Job& job, std::uint64_t rows, F f) {
  if (job.drawn == Keys::kUniform) {
    each_batch_of<R>(Generator(job), rows, f);
  } else {
    each_batch_of<R>(DrawnGenerator(job), rows, f);
  }
}

Checksum chain(const Job& job, std::uint64_t rows) {
  Checksum checksum;
  each_batch<Row>(job, rows, [&](Row* batch, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) batch[i].value = batch[i].value * 3 + 7;
    for (std::size_t i = 0; i < count; ++i) {
      if (batch[i].value % 2 == 0) {
        checksum.add(batch[i].key, static_cast<std::int64_t>(batch[i].value), 1);
      }
    }
  });
  return checksum;
}

template <class R, class K, class Out>
Checksum reduce(const Job& job, std::uint64_t rows) {
  Checksum checksum;
  FlatTable<K, Sum> table(job.keys);
  std::vector<Out> out(kBatchRows);
  each_batch<R>(job, rows, [&](R* batch, std::size_t count) {
    for (std::size_t i = 0; i < std::min(kAhead, count); ++i) table.prefetch(hash(batch[i].key));
    for (std::size_t i = 0; i < count; ++i) {
      if (i + kAhead < count) table.prefetch(hash(batch[i + kAhead].key));
      Sum& sum = table.at(batch[i].key, hash(batch[i].key));
      sum.add(static_cast<std::int64_t>(batch[i].value));
      out[i].key = batch[i].key;
      out[i].total = sum.total;
      out[i].count = sum.count;
    }
    for (std::size_t i = 0; i < count; ++i) checksum.add(out[i].key, out[i].total, out[i].count);
  });
  return checksum;
}

// Folds rows into a table of their second; `fire` is called with it at the end of each.
template <class R, class K, class A, class Fire>
void each_second(const Job& job, std::uint64_t rows, std::unique_ptr<FlatTable<K, A>>& table,
                 Fire fire) {
  Timestamp end{Duration{kSecond}};
  each_batch<R>(job, rows, [&](R* batch, std::size_t count) {
    for (std::size_t i = 0; i < std::min(kAhead, count); ++i) table->prefetch(hash(batch[i].key));
    for (std::size_t i = 0; i < count; ++i) {
      while (batch[i].at >= end) {
        fire();
        end += Duration{kSecond};
      }
      if (i + kAhead < count) table->prefetch(hash(batch[i + kAhead].key));
      table->at(batch[i].key, hash(batch[i].key)).add(static_cast<std::int64_t>(batch[i].value));
    }
  });
  fire();
}

// Output rows go through a buffer of a batch, as a sink gets them.
template <class Out, class K, class A>
void emit_all(FlatTable<K, A>& table, std::vector<Out>& out, Checksum& checksum) {
  std::size_t at = 0;
  const auto flush = [&] {
    for (std::size_t i = 0; i < at; ++i) checksum.add(out[i].key, out[i].total, out[i].count);
    at = 0;
  };
  for (const auto& entry : table.slots()) {
    if (entry.value.count == 0) continue;
    out[at].key = entry.key;
    out[at].total = entry.value.total;
    out[at].count = entry.value.count;
    if (++at == out.size()) flush();
  }
  flush();
}

template <class R, class K, class Out>
Checksum tumble(const Job& job, std::uint64_t rows) {
  Checksum checksum;
  std::vector<Out> out(kBatchRows);
  auto table = std::make_unique<FlatTable<K, Sum>>(job.keys);
  each_second<R, K, Sum>(job, rows, table, [&] {
    emit_all(*table, out, checksum);
    table->clear();
  });
  return checksum;
}

template <class A>
void merge_all(FlatTable<std::uint64_t, A>& from, FlatTable<std::uint64_t, A>& into) {
  for (const auto& entry : from.slots()) {
    if (entry.value.count > 0) into.at(entry.key, hash(entry.key)).merge(entry.value);
  }
}

// What follows counts on windows that were full once.
void check_full(std::size_t slides_left) {
  if (slides_left != kSlidesInWindow - 1) {
    throw std::runtime_error("a sliding job needs the rows of ten seconds of event time at least");
  }
}

// One running table: a slide's rows are merged in when it ends and taken out when it leaves the window. At
// the end of the input the windows that are still open fire as their slides leave.
Checksum slide(const Job& job, std::uint64_t rows) {
  using Table = FlatTable<std::uint64_t, Sum>;
  Checksum checksum;
  std::vector<Total> out(kBatchRows);
  Table running(job.keys);
  std::deque<std::unique_ptr<Table>> window;
  std::unique_ptr<Table> spare;
  auto table = std::make_unique<Table>(job.keys);
  const auto retire = [&] {
    for (const auto& entry : window.front()->slots()) {
      if (entry.value.count > 0) running.at(entry.key, hash(entry.key)).retract(entry.value);
    }
    window.front()->clear();
    spare = std::move(window.front());
    window.pop_front();
  };
  each_second<Row, std::uint64_t, Sum>(job, rows, table, [&] {
    merge_all(*table, running);
    emit_all(running, out, checksum);
    window.push_back(std::move(table));
    if (window.size() == kSlidesInWindow) retire();
    table = spare ? std::move(spare) : std::make_unique<Table>(job.keys);
  });
  for (check_full(window.size()); !window.empty(); retire()) emit_all(running, out, checksum);
  return checksum;
}

// Nothing can be taken out of a maximum: each firing merges all slides of the window.
Checksum slide_max(const Job& job, std::uint64_t rows) {
  using Table = FlatTable<std::uint64_t, Max>;
  Checksum checksum;
  std::vector<Total> out(kBatchRows);
  Table merged(job.keys);
  std::deque<std::unique_ptr<Table>> window;
  std::unique_ptr<Table> spare;
  auto table = std::make_unique<Table>(job.keys);
  const auto fire = [&] {
    for (auto& slide : window) merge_all(*slide, merged);
    emit_all(merged, out, checksum);
    merged.clear();
  };
  const auto retire = [&] {
    window.front()->clear();
    spare = std::move(window.front());
    window.pop_front();
  };
  each_second<Row, std::uint64_t, Max>(job, rows, table, [&] {
    window.push_back(std::move(table));
    fire();
    if (window.size() == kSlidesInWindow) retire();
    table = spare ? std::move(spare) : std::make_unique<Table>(job.keys);
  });
  for (check_full(window.size()); !window.empty(); retire()) fire();
  return checksum;
}

}  // namespace

Checksum run_bare(const Job& job, std::uint64_t rows) {
  using Text = std::string;
  if (job.name == "chain") return chain(job, rows);
  if (job.name == "slide_1m_max") return slide_max(job, rows);
  if (job.name == "reduce_1m_string") return reduce<TextRow, Text, TextTotal>(job, rows);
  if (job.name == "tumble_1m_string") return tumble<TextRow, Text, TextTotal>(job, rows);
  if (job.name.find("reduce") != std::string_view::npos || job.name.starts_with("process")) {
    return reduce<Row, std::uint64_t, Total>(job, rows);
  }
  if (job.name.starts_with("slide")) return slide(job, rows);
  return tumble<Row, std::uint64_t, Total>(job, rows);
}

}  // namespace bench
