#include "base/crc32c.h"

#include <string>

#include <gtest/gtest.h>

#include "base/random.h"

namespace levada {
namespace {

// Source: RFC 3720, B.4.
TEST(Crc32c, AgreesWithThePublishedVectors) {
  std::string up(32, '\0');
  for (std::size_t i = 0; i < up.size(); ++i) up[i] = static_cast<char>(i);
  const std::string down(up.rbegin(), up.rend());
  for (const auto crc : {&crc32c, &crc32c_portable}) {
    EXPECT_EQ(crc("", 0), 0u);
    EXPECT_EQ(crc("123456789", 0), 0xe3069283u);
    EXPECT_EQ(crc(std::string(32, '\0'), 0), 0x8a9136aau);
    EXPECT_EQ(crc(std::string(32, '\xff'), 0), 0x62a8ab43u);
    EXPECT_EQ(crc(up, 0), 0x46dd794eu);
    EXPECT_EQ(crc(down, 0), 0x113fdb5cu);
  }
}

TEST(Crc32c, IsTheSameByInstructionAndByTableAtEveryLengthAndOffset) {
  Random random(1);
  std::string bytes(300, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random.next());
  for (std::size_t first = 0; first < 9; ++first) {
    for (std::size_t size = 0; size + first <= bytes.size(); ++size) {
      const std::string_view part = std::string_view(bytes).substr(first, size);
      ASSERT_EQ(crc32c(part), crc32c_portable(part)) << first << " " << size;
    }
  }
}

// Of what is long the instruction makes several parts side by side.
TEST(Crc32c, IsTheSameByInstructionAndByTableOfLongBytes) {
  Random random(2);
  std::string bytes(40'000, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random.next());
  const std::string_view all = bytes;
  for (std::size_t first = 0; first < 9; ++first) {
    for (const std::size_t size : {3'071, 3'072, 3'073, 3'079, 3'080, 6'143, 6'144, 6'145, 9'300, 39'000}) {
      const std::string_view part = all.substr(first, size);
      ASSERT_EQ(crc32c(part), crc32c_portable(part)) << first << " " << size;
      const std::string_view rest = all.substr(first + size);
      ASSERT_EQ(crc32c(rest, crc32c(part)), crc32c_portable(all.substr(first))) << first << " " << size;
    }
  }
}

TEST(Crc32c, OfPartsAddsUpToThatOfTheWhole) {
  const std::string bytes = "the water runs across the island by gravity";
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    EXPECT_EQ(crc32c(bytes.substr(cut), crc32c(bytes.substr(0, cut))), crc32c(bytes));
    EXPECT_EQ(crc32c_portable(bytes.substr(cut), crc32c_portable(bytes.substr(0, cut))),
              crc32c(bytes));
  }
}

}  // namespace
}  // namespace levada
