#include "levada/detail/slot_memory.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace levada::detail {
namespace {

constexpr std::align_val_t kAlignment{64};
constexpr std::size_t kLarge = std::size_t{2} << 20;

// Of the whole process, in bytes.
std::size_t mapped_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmSize:")) return std::stoull(line.substr(7)) * 1024;
  }
  return 0;
}

TEST(SlotMemory, IsAlignedAndAllOfItIsThere) {
  for (const std::size_t bytes : {std::size_t{64}, std::size_t{4096}, kLarge - 64, kLarge, kLarge + 40, 3 * kLarge}) {
    auto* const slots = static_cast<unsigned char*>(allocate_slots(bytes, kAlignment));
    const std::size_t alignment = bytes < kLarge ? 64 : kLarge;
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(slots) % alignment, 0u) << bytes;
    std::memset(slots, 0xa5, bytes);
    EXPECT_EQ(std::count(slots, slots + bytes, 0xa5), static_cast<std::ptrdiff_t>(bytes));
    free_slots(slots, bytes, kAlignment);
  }
}

TEST(SlotMemory, LargeOnesKeepApartAndGoBackToTheSystem) {
  constexpr std::size_t kCount = 64, kBytes = kLarge + 4096;
  const std::size_t before = mapped_bytes();
  ASSERT_GT(before, 0u);
  std::vector<unsigned char*> all;
  for (std::size_t i = 0; i < kCount; ++i) {
    all.push_back(static_cast<unsigned char*>(allocate_slots(kBytes, kAlignment)));
    all.back()[0] = all.back()[kBytes - 1] = static_cast<unsigned char>(i);
  }
  // No more than was asked for: what aligning them took is given back at once.
  EXPECT_LE(mapped_bytes(), before + kCount * kBytes + kLarge);
  for (std::size_t i = 0; i < kCount; ++i) {
    EXPECT_EQ(all[i][0], i);
    EXPECT_EQ(all[i][kBytes - 1], i);
    free_slots(all[i], kBytes, kAlignment);
  }
  EXPECT_LE(mapped_bytes(), before + kLarge);
}

TEST(SlotMemory, TooMuchIsBadAlloc) {
  EXPECT_THROW(allocate_slots(SIZE_MAX - 4096, kAlignment), std::bad_alloc);
  EXPECT_THROW(allocate_slots(SIZE_MAX / 4, kAlignment), std::bad_alloc);
}

}  // namespace
}  // namespace levada::detail
