#include <gtest/gtest.h>

#include "levada/operator.h"

namespace levada {
namespace {

void emit(Output& out, std::int64_t value) {
  out.next<std::int64_t>(Timestamp{Duration{value}}) = value;
}

TEST(Output, IsFullWhenItsBatchIsAndGivesItAway) {
  Output out(&batch_type<std::int64_t>(), 3);
  EXPECT_TRUE(out.empty());
  EXPECT_EQ(out.take(), nullptr);
  for (std::int64_t i = 0; i < 3; ++i) {
    EXPECT_FALSE(out.full());
    emit(out, i);
  }
  EXPECT_TRUE(out.full());
  const BatchPtr batch = out.take();
  ASSERT_EQ(batch->size(), 3u);
  EXPECT_EQ(batch->rows<std::int64_t>()[2], 2);
  EXPECT_EQ(batch->times()[2], Timestamp{Duration{2}});
  EXPECT_TRUE(out.empty());
  EXPECT_FALSE(out.full());
}

TEST(Output, KeepsTheOrderWhenOneRowOvershoots) {
  Output out(&batch_type<std::int64_t>(), 2);
  for (std::int64_t i = 0; i < 5; ++i) emit(out, i);
  EXPECT_TRUE(out.full());
  std::int64_t expected = 0;
  while (const BatchPtr batch = out.take()) {
    for (std::size_t i = 0; i < batch->size(); ++i) {
      EXPECT_EQ(batch->rows<std::int64_t>()[i], expected++);
    }
  }
  EXPECT_EQ(expected, 5);
  EXPECT_TRUE(out.empty());
}

TEST(Output, UsesABatchAgainThatCameBack) {
  Output out(&batch_type<std::int64_t>(), 2);
  emit(out, 1);
  BatchPtr batch = out.take();
  const Batch* address = batch.get();
  batch->set_has_hashes(true);
  out.recycle(std::move(batch));
  EXPECT_EQ(&out.batch(), address);
  EXPECT_TRUE(out.batch().empty());
  EXPECT_FALSE(out.batch().has_hashes());
}

TEST(Output, KeepsNoBatchThatItCouldNotUse) {
  Output out(&batch_type<std::int64_t>(), 2);
  BatchPtr other = Batch::make(batch_type<double>(), 2);
  BatchPtr larger = Batch::make(batch_type<std::int64_t>(), 3);
  out.recycle(std::move(other));
  out.recycle(std::move(larger));
  EXPECT_EQ(&out.batch().type(), &batch_type<std::int64_t>());
  EXPECT_EQ(out.batch().capacity(), 2u);
}

TEST(Output, SwapsAWholeBatchInOnlyWhenNothingWaits) {
  Output out(&batch_type<std::int64_t>(), 2);
  BatchPtr batch = Batch::make(batch_type<std::int64_t>(), 2);
  batch->rows<std::int64_t>()[0] = 7;
  batch->set_size(1);
  EXPECT_TRUE(out.swap(batch));
  EXPECT_TRUE(batch->empty());
  batch->set_size(1);
  EXPECT_FALSE(out.swap(batch)) << "a row waits already";
  EXPECT_EQ(out.take()->rows<std::int64_t>()[0], 7);
  BatchPtr other = Batch::make(batch_type<double>(), 2);
  EXPECT_FALSE(out.swap(other)) << "another type";
}

TEST(OutputDeathTest, TakesNoRowsThatNobodyReads) {
  Output out(nullptr, 2);
  EXPECT_EXIT(out.batch(), ::testing::KilledBySignal(SIGABRT), "");
}

}  // namespace
}  // namespace levada
