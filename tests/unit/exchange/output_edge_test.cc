#include "exchange/output_edge.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <vector>

#include "levada/detail/key_groups.h"

namespace levada {
namespace {

constexpr int kGroups = 128;

// An edge to some channels, and what came out of them.
struct EdgeTest : testing::Test {
  void make(ExchangeKind kind, std::size_t targets, std::size_t batch_rows) {
    PlanEdge edge;
    edge.type = &batch_type<std::int64_t>();
    edge.exchange.kind = kind;
    edge.exchange.hasher = detail::make_key_selector<std::int64_t>(std::identity{});
    std::vector<OutputEdge::End> ends;
    for (std::size_t i = 0; i < targets; ++i) {
      channels.push_back(std::make_unique<Channel>(*edge.type, batch_rows, memory));
      ends.push_back({.channel = channels.back().get(), .far = i % 2 == 1});
    }
    out = std::make_unique<OutputEdge>(edge, kGroups, ends, 0);
  }

  BatchPtr batch_of(std::int64_t first, std::int64_t count) {
    BatchPtr batch = Batch::make(batch_type<std::int64_t>(), 8);
    for (std::int64_t i = 0; i < count; ++i) {
      batch->rows<std::int64_t>()[i] = first + i;
      batch->times()[i] = Timestamp{Duration{first + i}};
    }
    batch->set_size(static_cast<std::size_t>(count));
    return batch;
  }

  std::vector<std::int64_t> drain(std::size_t channel) {
    std::vector<std::int64_t> rows;
    while (Element* element = channels[channel]->front()) {
      Element taken = std::move(*element);
      channels[channel]->pop();
      if (!taken.batch) continue;
      for (std::size_t i = 0; i < taken.batch->size(); ++i) {
        rows.push_back(taken.batch->rows<std::int64_t>()[i]);
        EXPECT_EQ(taken.batch->times()[i].time_since_epoch().count(), rows.back());
      }
      channels[channel]->give_back(std::move(taken.batch));
    }
    return rows;
  }

  MemoryShare memory{"channels", 1 << 20};
  std::vector<std::unique_ptr<Channel>> channels;
  std::unique_ptr<OutputEdge> out;
};

TEST_F(EdgeTest, HashSendsEveryRowToTheOwnerOfItsKeyGroupInOrder) {
  make(ExchangeKind::kHash, 3, 4);
  std::map<std::size_t, std::vector<std::int64_t>> expected, got;
  for (std::int64_t first = 0; first < 800; first += 8) {
    BatchPtr batch = batch_of(first, 8);
    for (std::int64_t i = first; i < first + 8; ++i) {
      const auto group = key_group_of(hash_of(i), kGroups);
      expected[key_group_owner(group, kGroups, 3)].push_back(i);
    }
    std::size_t row = 0;
    while (!out->write(batch, row)) {
      for (std::size_t c = 0; c < 3; ++c) {
        for (const std::int64_t value : drain(c)) got[c].push_back(value);
      }
    }
  }
  ASSERT_TRUE(out->flush());
  for (std::size_t c = 0; c < 3; ++c) {
    for (const std::int64_t value : drain(c)) got[c].push_back(value);
  }
  EXPECT_EQ(got, expected);
}

// Rows of one target do not wait for those of another, nor does any come twice.
TEST_F(EdgeTest, HashGoesOnWithOtherTargetsWhileOneIsFull) {
  make(ExchangeKind::kHash, 2, 8);
  std::map<std::size_t, std::vector<std::int64_t>> expected, got;
  const auto take = [&](std::size_t channel) {
    for (const std::int64_t value : drain(channel)) got[channel].push_back(value);
  };
  int blocked = 0;
  for (std::int64_t first = 0; first < 4000; first += 8) {
    BatchPtr batch = batch_of(first, 8);
    for (std::int64_t i = first; i < first + 8; ++i) {
      expected[key_group_owner(key_group_of(hash_of(i), kGroups), kGroups, 2)].push_back(i);
    }
    for (std::size_t row = 0; !out->write(batch, row);) {
      const std::size_t full = channels[0]->queued() > channels[1]->queued() ? 0 : 1;
      out->flush();
      take(1 - full);
      EXPECT_FALSE(out->write(batch, row)) << "nobody has made room";
      out->flush();
      take(1 - full);
      EXPECT_EQ(got[1 - full], expected[1 - full]) << "all of them are through";
      take(full);
      ++blocked;
    }
  }
  EXPECT_GT(blocked, 10);
  ASSERT_TRUE(out->flush());
  take(0);
  take(1);
  EXPECT_EQ(got, expected);
}

TEST_F(EdgeTest, ForwardKeepsOrderOverPartlyFilledBatches) {
  make(ExchangeKind::kForward, 1, 8);
  std::vector<std::int64_t> expected, got;
  for (std::int64_t first = 0, count = 1; first < 500; first += count, count = count % 8 + 1) {
    BatchPtr batch = batch_of(first, count);
    for (std::int64_t i = 0; i < count; ++i) expected.push_back(first + i);
    std::size_t row = 0;
    while (!out->write(batch, row)) {
      for (const std::int64_t value : drain(0)) got.push_back(value);
    }
  }
  ASSERT_TRUE(out->flush());
  for (const std::int64_t value : drain(0)) got.push_back(value);
  EXPECT_EQ(got, expected);
}

TEST_F(EdgeTest, BroadcastCopiesEveryRowOnceToEachTarget) {
  make(ExchangeKind::kBroadcast, 2, 4);
  std::vector<std::int64_t> expected, fast, slow;
  for (std::int64_t first = 0; first < 160; first += 8) {
    BatchPtr batch = batch_of(first, 8);
    for (std::int64_t i = 0; i < 8; ++i) expected.push_back(first + i);
    std::size_t row = 0;
    while (!out->write(batch, row)) {
      for (const std::int64_t value : drain(0)) fast.push_back(value);
      if (channels[1]->queued() >= Channel::kBatchesMax - 2) {  // the other is read rarely
        for (const std::int64_t value : drain(1)) slow.push_back(value);
      }
    }
  }
  while (!out->flush()) drain(1);
  for (const std::int64_t value : drain(0)) fast.push_back(value);
  for (const std::int64_t value : drain(1)) slow.push_back(value);
  EXPECT_EQ(fast, expected);
  EXPECT_EQ(slow, expected);
}

// Else a producer that waits for room would find something to send each time it looks, and never rest.
TEST_F(EdgeTest, WhatIsNotTakenIsNotPending) {
  for (const ExchangeKind kind : {ExchangeKind::kHash, ExchangeKind::kForward,
                                  ExchangeKind::kRebalance, ExchangeKind::kBroadcast}) {
    channels.clear();
    make(kind, 1, 8);
    BatchPtr batch;
    std::size_t row = 0;
    do {  // until the channel has no more batches to give
      batch = batch_of(0, 8);
      row = 0;
    } while (out->write(batch, row));
    EXPECT_TRUE(out->has_pending());
    EXPECT_TRUE(out->flush());
    EXPECT_FALSE(out->write(batch, row));
    EXPECT_FALSE(out->has_pending()) << to_string(kind);
  }
}

TEST_F(EdgeTest, EventTimeNeverOvertakesARow) {
  make(ExchangeKind::kForward, 1, 8);
  BatchPtr batch = batch_of(1, 2);
  std::size_t row = 0;
  ASSERT_TRUE(out->write(batch, row));
  out->set_time({Timestamp{Duration{2}}, false});
  EXPECT_EQ(channels[0]->front(), nullptr) << "nothing leaves before the batch is full or flushed";
  ASSERT_TRUE(out->flush());
  Element* element = channels[0]->front();
  ASSERT_NE(element, nullptr);
  EXPECT_EQ(element->kind, Element::Kind::kBatch);
  EXPECT_TRUE(element->has_time);
  EXPECT_EQ(element->time.watermark, Timestamp{Duration{2}});
}

TEST_F(EdgeTest, ABarrierFollowsAllRowsOnEveryChannel) {
  make(ExchangeKind::kHash, 2, 8);
  BatchPtr batch = batch_of(0, 8);
  std::size_t row = 0;
  ASSERT_TRUE(out->write(batch, row));
  ASSERT_TRUE(out->flush());
  ASSERT_TRUE(out->control_room());
  out->push_control(Element::Kind::kBarrier, {.checkpoint = 3});
  for (auto& channel : channels) {
    Element last;
    while (Element* element = channel->front()) {
      last = std::move(*element);
      channel->pop();
    }
    EXPECT_EQ(last.kind, Element::Kind::kBarrier);
    EXPECT_EQ(last.barrier.checkpoint, 3u);
  }
}

}  // namespace
}  // namespace levada
