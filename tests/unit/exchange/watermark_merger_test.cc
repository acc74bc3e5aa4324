#include "exchange/watermark_merger.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

namespace levada {
namespace {

Timestamp at(std::int64_t us) { return Timestamp{Duration{us}}; }

TEST(WatermarkMerger, IsTheMinimumOverActiveInputs) {
  WatermarkMerger merger(2);
  EXPECT_FALSE(merger.update(0, {at(10), false}));
  EXPECT_TRUE(merger.update(1, {at(7), false}));
  EXPECT_EQ(merger.merged().watermark, at(7));
  EXPECT_TRUE(merger.update(1, {at(20), false}));
  EXPECT_EQ(merger.merged().watermark, at(10));
}

TEST(WatermarkMerger, IdleInputsHoldNobodyBack) {
  WatermarkMerger merger(2);
  merger.update(0, {at(10), false});
  EXPECT_TRUE(merger.update(1, {kMinWatermark, true}));
  EXPECT_EQ(merger.merged(), (InputTime{at(10), false}));
}

TEST(WatermarkMerger, AnInputThatWakesUpBehindHoldsTheWatermarkWhereItIs) {
  WatermarkMerger merger(2);
  merger.update(0, {at(10), false});
  merger.update(1, {kMinWatermark, true});
  EXPECT_FALSE(merger.update(1, {at(3), false}));
  EXPECT_EQ(merger.merged().watermark, at(10));
  EXPECT_FALSE(merger.update(0, {at(30), false}));
  EXPECT_TRUE(merger.update(1, {at(12), false}));
  EXPECT_EQ(merger.merged().watermark, at(12));
}

TEST(WatermarkMerger, AllIdleMovesToTheGreatestSeen) {
  WatermarkMerger merger(2);
  merger.update(0, {at(10), false});
  merger.update(1, {at(4), false});
  merger.update(1, {at(4), true});
  EXPECT_TRUE(merger.update(0, {at(10), true}));
  EXPECT_EQ(merger.merged(), (InputTime{at(10), true}));
}

// Every sequence of up to five updates of three inputs against the definition in words: the minimum
// over the active ones, or the greatest when none is; never back.
TEST(WatermarkMerger, AgreesWithItsDefinitionOnAllShortSequences) {
  const std::vector<InputTime> values = {{at(1), false}, {at(2), false}, {at(3), true}};
  constexpr int kInputs = 3;
  const int kinds = kInputs * static_cast<int>(values.size());
  int sequences = 1;
  for (int i = 0; i < 5; ++i) sequences *= kinds;
  for (int sequence = 0; sequence < sequences; ++sequence) {
    WatermarkMerger merger(kInputs);
    std::vector<InputTime> now(kInputs);
    Timestamp expected = kMinWatermark;
    for (int step = 0, rest = sequence; step < 5; ++step, rest /= kinds) {
      const int input = rest % kinds % kInputs;
      const InputTime& value = values[static_cast<std::size_t>(rest % kinds / kInputs)];
      now[static_cast<std::size_t>(input)] = value;
      merger.update(static_cast<std::size_t>(input), value);
      Timestamp least = kMaxWatermark, greatest = kMinWatermark;
      bool idle = true;
      for (const InputTime& time : now) {
        greatest = std::max(greatest, time.watermark);
        if (!time.idle) least = std::min(least, time.watermark), idle = false;
      }
      expected = std::max(expected, idle ? greatest : least);
      ASSERT_EQ(merger.merged(), (InputTime{expected, idle})) << "sequence " << sequence;
    }
  }
}

}  // namespace
}  // namespace levada
