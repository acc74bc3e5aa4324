#include "exchange/channel.h"

#include <gtest/gtest.h>

#include <string>
#include <thread>

namespace levada {
namespace {

Element batch_element(BatchPtr batch) {
  Element element;
  element.kind = Element::Kind::kBatch;
  element.batch = std::move(batch);
  return element;
}

class CountingWaker : public Waker {
 public:
  void wake() noexcept override { ++count; }
  int count = 0;
};

TEST(Channel, KeepsTheOrderOfElements) {
  MemoryShare memory("channels", 1 << 20);
  Channel channel(batch_type<std::int64_t>(), 4, memory);
  for (std::int64_t i = 0; i < 3; ++i) {
    BatchPtr batch = channel.take_empty();
    batch->rows<std::int64_t>()[0] = i;
    batch->set_size(1);
    channel.push(batch_element(std::move(batch)));
  }
  for (std::int64_t i = 0; i < 3; ++i) {
    ASSERT_NE(channel.front(), nullptr);
    EXPECT_EQ(channel.front()->batch->rows<std::int64_t>()[0], i);
    BatchPtr batch = std::move(channel.front()->batch);
    channel.pop();
    channel.give_back(std::move(batch));
  }
  EXPECT_EQ(channel.front(), nullptr);
}

TEST(Channel, GivesOutABoundedNumberOfBatchesAndReusesThem) {
  MemoryShare memory("channels", 1 << 20);
  Channel channel(batch_type<std::int64_t>(), 4, memory);
  std::vector<BatchPtr> out;
  while (BatchPtr batch = channel.take_empty()) out.push_back(std::move(batch));
  EXPECT_EQ(out.size(), Channel::kBatchesMax);
  Batch* first = out.front().get();
  channel.give_back(std::move(out.front()));
  const BatchPtr again = channel.take_empty();
  EXPECT_EQ(again.get(), first);
}

TEST(Channel, HasOneGuaranteedBatchWhenTheBudgetIsUsedUp) {
  MemoryShare memory("channels", 1);
  Channel channel(batch_type<std::int64_t>(), 4, memory);
  BatchPtr batch = channel.take_empty();
  ASSERT_NE(batch, nullptr);
  EXPECT_EQ(channel.take_empty(), nullptr);
  channel.give_back(std::move(batch));
  EXPECT_NE(channel.take_empty(), nullptr);
}

TEST(Channel, AccountsForWhatRowsHoldAndGivesAllBackAtItsEnd) {
  MemoryShare memory("channels", 1 << 20);
  {
    Channel channel(batch_type<std::string>(), 2, memory);
    BatchPtr batch = channel.take_empty();
    const std::size_t empty = memory.used_bytes();
    batch->rows<std::string>()[0] = std::string(10'000, 'x');
    batch->set_size(1);
    channel.push(batch_element(std::move(batch)));
    EXPECT_GE(memory.used_bytes(), empty + 10'000);
  }
  EXPECT_EQ(memory.used_bytes(), 0u);
}

TEST(Channel, WakesTheConsumerAndAProducerThatAsked) {
  MemoryShare memory("channels", 1 << 20);
  Channel channel(batch_type<std::int64_t>(), 1, memory);
  CountingWaker consumer, producer;
  channel.connect(&consumer, &producer);
  Element time;
  channel.push(std::move(time));
  EXPECT_EQ(consumer.count, 1);
  channel.pop();
  EXPECT_EQ(producer.count, 0);
  channel.push(Element{});
  channel.await_room();
  channel.pop();
  EXPECT_EQ(producer.count, 1);
}

TEST(Channel, CarriesBatchesBetweenTwoThreads) {
  constexpr std::int64_t kRows = 100'000;
  MemoryShare memory("channels", 1 << 20);
  Channel channel(batch_type<std::int64_t>(), 16, memory);
  std::thread producer([&] {
    for (std::int64_t next = 0; next < kRows;) {
      BatchPtr batch = channel.has_room() ? channel.take_empty() : nullptr;
      if (!batch) {
        std::this_thread::yield();
        continue;
      }
      while (!batch->full() && next < kRows) {
        batch->rows<std::int64_t>()[batch->size()] = next++;
        batch->set_size(batch->size() + 1);
      }
      channel.push(batch_element(std::move(batch)));
    }
  });
  std::int64_t expected = 0;
  while (expected < kRows) {
    Element* element = channel.front();
    if (element == nullptr) {
      std::this_thread::yield();
      continue;
    }
    BatchPtr batch = std::move(element->batch);
    channel.pop();
    for (std::size_t i = 0; i < batch->size(); ++i) {
      ASSERT_EQ(batch->rows<std::int64_t>()[i], expected++);
    }
    channel.give_back(std::move(batch));
  }
  producer.join();
}

}  // namespace
}  // namespace levada
