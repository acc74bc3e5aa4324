#include "levada/batch.h"

#include <array>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace batch_test {

struct Word {
  std::string text;
  std::int64_t count = 0;
};
LEVADA_RECORD(Word, text, count)

struct alignas(128) Wide {
  std::int64_t value = 0;
};
LEVADA_RECORD(Wide, value)

// Counts how many are alive.
struct Counted {
  static inline int alive = 0;
  std::int64_t value = 0;
  Counted() { ++alive; }
  Counted(const Counted& other) : value(other.value) { ++alive; }
  Counted& operator=(const Counted&) = default;
  ~Counted() { --alive; }
};

struct ThrowsWhenMade {
  static inline int left = 0;
  ThrowsWhenMade() {
    if (left-- == 0) throw std::runtime_error("no");
  }
};

}  // namespace batch_test

template <>
struct levada::Serde<batch_test::Counted> {
  static void write(const batch_test::Counted& row, Bytes& out) { put_number(out, row.value); }
  static void read(View& in, batch_test::Counted& row) {
    row.value = in.take_number<std::int64_t>();
  }
  static std::string schema() { return "counted"; }
};
template <>
struct levada::Serde<batch_test::ThrowsWhenMade> {
  static void write(const batch_test::ThrowsWhenMade&, Bytes&) {}
  static void read(View&, batch_test::ThrowsWhenMade&) {}
  static std::string schema() { return "throws"; }
};
template <>
struct levada::Serde<std::unique_ptr<int>> {
  static void write(const std::unique_ptr<int>&, Bytes&) {}
  static void read(View&, std::unique_ptr<int>&) {}
  static std::string schema() { return "pointer"; }
};

namespace levada {
namespace {

using batch_test::Counted;
using batch_test::ThrowsWhenMade;
using batch_test::Wide;
using batch_test::Word;

const std::string kLong(100, 'x');

BatchPtr words(std::size_t capacity, std::size_t count) {
  BatchPtr batch = Batch::make(batch_type<Word>(), capacity);
  for (std::size_t i = 0; i < count; ++i) {
    batch->rows<Word>()[i] = {kLong + std::to_string(i), static_cast<std::int64_t>(i)};
    batch->times()[i] = Timestamp{Duration{100 + i}};
    batch->hashes()[i] = i * 7;
  }
  batch->set_size(count);
  return batch;
}

TEST(Batch, HasAllItsRowsConstructedAndNoneCounted) {
  const BatchPtr batch = Batch::make(batch_type<Word>(), 10);
  EXPECT_EQ(batch->capacity(), 10u);
  EXPECT_EQ(batch->room(), 10u);
  EXPECT_TRUE(batch->empty());
  EXPECT_FALSE(batch->has_hashes());
  for (std::size_t i = 0; i < 10; ++i) {
    EXPECT_EQ(batch->rows<Word>()[i].text, "");
    EXPECT_EQ(batch->times()[i], kNoTimestamp);
    EXPECT_EQ(batch->row(i), batch->rows<Word>() + i);
  }
  batch->set_size(10);
  EXPECT_TRUE(batch->full());
}

TEST(Batch, AlignsRowsAsTheirTypeWantsAndColumnsToCacheLines) {
  for (const std::size_t capacity : {1u, 3u, 7u, 1024u}) {
    const BatchPtr batch = Batch::make(batch_type<Wide>(), capacity);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(batch->data()) % 128, 0u);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(batch->times()) % 64, 0u);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(batch->hashes()) % 64, 0u);
    EXPECT_EQ(batch->allocation_bytes(), Batch::allocation_bytes(batch_type<Wide>(), capacity));
    EXPECT_GE(batch->allocation_bytes(), capacity * (sizeof(Wide) + 16));
  }
}

TEST(Batch, DestroysEveryRowOnce) {
  {
    const BatchPtr batch = Batch::make(batch_type<Counted>(), 5);
    EXPECT_EQ(Counted::alive, 5);
    batch->set_size(2);
    const BatchPtr copy = batch->slice(0, 2);
    EXPECT_EQ(Counted::alive, 10);
  }
  EXPECT_EQ(Counted::alive, 0);
}

TEST(Batch, LeavesNothingBehindWhenARowCannotBeMade) {
  ThrowsWhenMade::left = 3;
  EXPECT_THROW(Batch::make(batch_type<ThrowsWhenMade>(), 5), std::runtime_error);
}

TEST(Batch, ClearedKeepsItsRowsAndTheirCapacity) {
  const BatchPtr batch = words(4, 4);
  batch->set_has_hashes(true);
  const char* characters = batch->rows<Word>()[2].text.data();
  batch->clear();
  EXPECT_TRUE(batch->empty());
  EXPECT_FALSE(batch->has_hashes());
  batch->rows<Word>()[2].text.assign(50, 'y');
  EXPECT_EQ(batch->rows<Word>()[2].text.data(), characters);
}

TEST(Batch, SlicesACopyWithTimesAndHashes) {
  const BatchPtr batch = words(8, 6);
  batch->set_has_hashes(true);
  const BatchPtr slice = batch->slice(2, 3);
  ASSERT_EQ(slice->size(), 3u);
  EXPECT_EQ(slice->capacity(), 8u);
  EXPECT_TRUE(slice->has_hashes());
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(slice->rows<Word>()[i].text, kLong + std::to_string(i + 2));
    EXPECT_EQ(slice->times()[i], batch->times()[i + 2]);
    EXPECT_EQ(slice->hashes()[i], batch->hashes()[i + 2]);
  }
  EXPECT_EQ(batch->rows<Word>()[2].text, kLong + "2") << "the batch itself is unchanged";
  EXPECT_EQ(batch->slice(6, 0)->size(), 0u);
}

TEST(BatchDeathTest, SlicesNothingOutsideAndNothingThatCannotBeCopied) {
  const BatchPtr batch = words(8, 6);
  EXPECT_EXIT(batch->slice(4, 3), ::testing::KilledBySignal(SIGABRT), "");
  EXPECT_EXIT(batch->slice(7, 0), ::testing::KilledBySignal(SIGABRT), "");
  const BatchPtr unique = Batch::make(batch_type<std::unique_ptr<int>>(), 2);
  EXPECT_EXIT(unique->slice(0, 0), ::testing::KilledBySignal(SIGABRT), "");
  EXPECT_EXIT(Batch::make(batch_type<Word>(), 0), ::testing::KilledBySignal(SIGABRT), "");
}

TEST(Batch, TakesRowsOfAnotherBehindItsOwn) {
  for (const bool far : {false, true}) {
    const BatchPtr from = words(16, 10);
    const BatchPtr to = words(16, 1);
    const std::vector<std::uint16_t> which = {2, 5, 8};
    to->take(*from, which, far);
    ASSERT_EQ(to->size(), 4u);
    EXPECT_EQ(to->rows<Word>()[0].text, kLong + "0") << "its own";
    EXPECT_EQ(to->rows<Word>()[1].text, kLong + "2");
    EXPECT_EQ(to->rows<Word>()[3].count, 8);
    EXPECT_EQ(to->times()[3], Timestamp{Duration{108}});
    EXPECT_EQ(to->hashes()[3], 56u);
    to->take(*from, {}, far);
    EXPECT_EQ(to->size(), 4u);
  }
}

TEST(Batch, GivesTheOldRowsCapacityBackForThoseItTakes) {
  const BatchPtr from = words(4, 4);
  const BatchPtr to = words(4, 4);
  to->clear();
  const std::vector<std::uint16_t> which = {0, 1, 2, 3};
  to->take(*from, which, true);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_GE(from->rows<Word>()[i].text.capacity(), 100u);
}

// Rows of all lengths that leave past the caches, and of some that cannot.
template <class T>
void take_flat(T (*make)(std::int64_t)) {
  constexpr std::size_t kRows = 256;
  for (const bool far : {false, true}) {
    const BatchPtr from = Batch::make(batch_type<T>(), kRows);
    for (std::size_t i = 0; i < kRows; ++i) {
      from->rows<T>()[i] = make(static_cast<std::int64_t>(i));
      from->times()[i] = Timestamp{Duration{static_cast<std::int64_t>(i) + 1000}};
      from->hashes()[i] = i * 7;
    }
    from->set_size(kRows);
    const BatchPtr to = Batch::make(batch_type<T>(), kRows);
    std::vector<std::uint16_t> which;
    for (std::uint16_t i = 0; i < kRows; i = static_cast<std::uint16_t>(i + 1 + i % 3)) which.push_back(i);
    const std::span<const std::uint16_t> all(which);
    to->take(*from, all.first(5), far);
    to->take(*from, all.subspan(5), far);
    ASSERT_EQ(to->size(), which.size());
    for (std::size_t i = 0; i < which.size(); ++i) {
      EXPECT_EQ(to->rows<T>()[i], make(which[i])) << i;
      EXPECT_EQ(to->times()[i], Timestamp{Duration{which[i] + 1000}});
      EXPECT_EQ(to->hashes()[i], which[i] * std::uint64_t{7});
    }
  }
}

template <std::size_t kWords>
std::array<std::int64_t, kWords> numbers(std::int64_t first) {
  std::array<std::int64_t, kWords> made;
  for (std::size_t i = 0; i < kWords; ++i) made[i] = first * 100 + static_cast<std::int64_t>(i);
  return made;
}

TEST(Batch, TakesRowsOfAnyLength) {
  take_flat<std::int64_t>([](std::int64_t i) { return i * 3; });
  take_flat<std::int32_t>([](std::int64_t i) { return static_cast<std::int32_t>(i * 3); });
  take_flat<bool>([](std::int64_t i) { return i % 3 == 0; });
  take_flat<std::array<std::int64_t, 2>>(numbers<2>);
  take_flat<std::array<std::int64_t, 3>>(numbers<3>);
  take_flat<std::array<std::int64_t, 4>>(numbers<4>);
  take_flat<std::array<std::int64_t, 5>>(numbers<5>);
  take_flat<std::array<std::int64_t, 17>>(numbers<17>);
}

TEST(Batch, TakesRowsOfTheLargestBatchesAndOfWideOnes) {
  constexpr std::size_t kRows = 65536;
  for (const bool far : {false, true}) {
    const BatchPtr from = Batch::make(batch_type<Wide>(), kRows);
    for (std::size_t i = 0; i < kRows; ++i) from->rows<Wide>()[i].value = static_cast<std::int64_t>(i);
    from->set_size(kRows);
    const BatchPtr to = Batch::make(batch_type<Wide>(), kRows);
    std::vector<std::uint16_t> which(kRows);
    for (std::size_t i = 0; i < kRows; ++i) which[i] = static_cast<std::uint16_t>(kRows - 1 - i);
    to->take(*from, which, far);
    ASSERT_TRUE(to->full());
    for (const std::size_t i : {std::size_t{0}, std::size_t{1}, std::size_t{40'000}, kRows - 1}) {
      EXPECT_EQ(to->rows<Wide>()[i].value, static_cast<std::int64_t>(kRows - 1 - i));
    }
  }
}

TEST(BatchType, EncodesAndDecodesARangeOfRows) {
  const BatchPtr from = words(8, 6);
  Bytes bytes;
  from->type().encode(from->row(1), 4, bytes);
  const BatchPtr to = words(8, 0);
  View in(bytes);
  to->type().decode(in, to->data(), 4);
  EXPECT_TRUE(in.empty());
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(to->rows<Word>()[i].text, from->rows<Word>()[i + 1].text);
  }
}

TEST(BatchType, MeasuresTheHeapOfItsRowsAndSaysWhenThereIsNone) {
  const BatchPtr batch = words(8, 6);
  EXPECT_GT(batch->type().heap_bytes(batch->data(), 6), 600u);
  EXPECT_EQ(batch_type<std::int64_t>().heap_bytes, nullptr);
  EXPECT_EQ(batch_type<std::unique_ptr<int>>().copy, nullptr);
  EXPECT_EQ(&batch_type<Word>(), &batch_type<Word>());
  EXPECT_EQ(batch_type<Word>().name, "Word");
}

}  // namespace
}  // namespace levada
