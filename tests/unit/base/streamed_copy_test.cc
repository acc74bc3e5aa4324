#include "levada/detail/streamed_copy.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace levada::detail {
namespace {

std::string numbered(std::size_t bytes, std::uint64_t seed) {
  std::string made(bytes, '\0');
  for (std::size_t i = 0; i < bytes; ++i) made[i] = static_cast<char>((i + 1) * 31 + seed * 17);
  return made;
}

TEST(StreamedCopy, CopiesWhatMemcpyWouldAndNothingElse) {
  constexpr std::size_t kRoom = 512;
  for (std::size_t to = 0; to < 65; ++to) {
    for (const std::size_t from : {std::size_t{0}, std::size_t{1}, std::size_t{33}}) {
      for (std::size_t bytes = 0; bytes <= 300; bytes += bytes < 200 ? 1 : 13) {
        alignas(64) char target[kRoom];
        std::fill_n(target, kRoom, '#');
        const std::string source = numbered(from + bytes, to);
        streamed_copy(target + to, source.data() + from, bytes);
        std::string expected(kRoom, '#');
        expected.replace(to, bytes, source, from, bytes);
        ASSERT_EQ(std::string(target, kRoom), expected) << to << ' ' << from << ' ' << bytes;
      }
    }
  }
}

// Another thread reads what came before the end, each time.
template <class Copy>
void copy_for_another_thread(Copy copy) {
  constexpr std::uint64_t kTimes = 2000;
  constexpr std::size_t kBytes = 40'000;
  std::vector<char> shared(kBytes);
  std::atomic<std::uint64_t> written{0}, read{0};
  std::uint64_t wrong = 0;
  std::thread reader([&] {
    for (std::uint64_t i = 1; i <= kTimes; ++i) {
      while (written.load(std::memory_order_acquire) < i) std::this_thread::yield();
      const std::string expected(kBytes, static_cast<char>(i));
      wrong += std::string_view(shared.data(), kBytes) != expected;
      read.store(i, std::memory_order_release);
    }
  });
  for (std::uint64_t i = 1; i <= kTimes; ++i) {
    while (read.load(std::memory_order_acquire) < i - 1) std::this_thread::yield();
    const std::string source(kBytes, static_cast<char>(i));
    copy(shared.data(), source);
    written.store(i, std::memory_order_release);
  }
  reader.join();
  EXPECT_EQ(wrong, 0u);
}

TEST(StreamedCopy, IsThereForOthersOnceItHasEnded) {
  copy_for_another_thread([](char* to, const std::string& source) {
    streamed_copy(to, source.data(), source.size());
    end_streaming();
  });
}

TEST(StreamedGather, IsThereForOthersOnceStreamingHasEnded) {
  constexpr std::size_t kItemBytes = 40;
  copy_for_another_thread([](char* to, const std::string& source) {
    std::vector<std::uint16_t> which(source.size() / kItemBytes);
    for (std::size_t i = 0; i < which.size(); ++i) which[i] = static_cast<std::uint16_t>(which.size() - 1 - i);
    streamed_gather(to, source.data(), kItemBytes, which);
    end_streaming();
  });
}

TEST(StreamedGather, CopiesTheItemsThatWereNamedInTheirOrder) {
  for (const std::size_t words : {1, 2, 3, 4, 5, 16}) {
    const std::size_t item_bytes = 8 * words;
    const std::string source = numbered(item_bytes * 50, words);
    const std::vector<std::uint16_t> which = {49, 0, 7, 8, 9, 33};
    std::string expected;
    for (const std::uint16_t item : which) expected += source.substr(item * item_bytes, item_bytes);
    std::vector<std::uint64_t> target(words * (which.size() + 1), ~std::uint64_t{0});
    streamed_gather(reinterpret_cast<char*>(target.data()), source.data(), item_bytes, which);
    end_streaming();
    EXPECT_EQ(std::string(reinterpret_cast<const char*>(target.data()), expected.size()), expected) << words;
    EXPECT_EQ(target[words * which.size()], ~std::uint64_t{0}) << "nothing behind them";
  }
}

}  // namespace
}  // namespace levada::detail
