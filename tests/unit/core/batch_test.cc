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

TEST(BatchType, ScattersEveryRowToItsOwnerInOrder) {
  const BatchPtr from = words(16, 10);
  const std::array<BatchPtr, 3> outs = {words(16, 0), words(16, 0), words(16, 1)};
  std::vector<std::uint16_t> owners;
  for (std::uint16_t i = 2; i < 10; ++i) owners.push_back(i % 3);
  Batch* const pointers[] = {outs[0].get(), outs[1].get(), outs[2].get()};
  EXPECT_EQ(from->type().scatter(*from, 2, owners, pointers), 8u);
  EXPECT_EQ(outs[0]->size(), 3u);  // 3 6 9
  EXPECT_EQ(outs[1]->size(), 2u);  // 4 7
  EXPECT_EQ(outs[2]->size(), 4u);  // its own, 2 5 8
  EXPECT_EQ(outs[0]->rows<Word>()[1].text, kLong + "6");
  EXPECT_EQ(outs[2]->rows<Word>()[3].count, 8);
  EXPECT_EQ(outs[2]->times()[3], Timestamp{Duration{108}});
  EXPECT_EQ(outs[2]->hashes()[3], 56u);
}

TEST(BatchType, StopsScatteringAtAFullBatchAndGoesOnFromThere) {
  const BatchPtr from = words(8, 6);
  const BatchPtr small = words(2, 0);
  const BatchPtr large = words(8, 0);
  Batch* const pointers[] = {small.get(), large.get()};
  const std::vector<std::uint16_t> owners = {0, 1, 0, 1, 0, 1};
  EXPECT_EQ(from->type().scatter(*from, 0, owners, pointers), 4u);
  small->clear();
  const std::span<const std::uint16_t> rest = std::span(owners).subspan(4);
  EXPECT_EQ(from->type().scatter(*from, 4, rest, pointers), 2u);
  EXPECT_EQ(small->rows<Word>()[0].count, 4);
  EXPECT_EQ(large->size(), 3u);
}

TEST(BatchType, GivesTheOldRowsCapacityBackWhenItScatters) {
  const BatchPtr from = words(4, 4);
  const BatchPtr to = words(4, 4);
  to->clear();
  Batch* const pointers[] = {to.get()};
  const std::vector<std::uint16_t> owners(4, 0);
  from->type().scatter(*from, 0, owners, pointers);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_GE(from->rows<Word>()[i].text.capacity(), 100u);
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
