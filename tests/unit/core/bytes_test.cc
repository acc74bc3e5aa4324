#include "levada/bytes.h"

#include <cstdint>
#include <limits>

#include <gtest/gtest.h>

#include "levada/error.h"

namespace levada {
namespace {

TEST(View, TakesFromTheFrontWhatWasPut) {
  Bytes bytes;
  put_number(bytes, std::uint16_t{0x1234});
  put_string(bytes, "levada");
  put_varint(bytes, 300);
  put_number(bytes, 1.5);
  View in(bytes);
  EXPECT_EQ(in.take_number<std::uint16_t>(), 0x1234);
  EXPECT_EQ(in.take_string(), "levada");
  EXPECT_EQ(in.take_varint(), 300u);
  EXPECT_EQ(in.take_number<double>(), 1.5);
  EXPECT_TRUE(in.empty());
}

TEST(Bytes, AreLittleEndianWithVarintsOfSevenBits) {
  Bytes bytes;
  put_number(bytes, std::uint32_t{0x01020304});
  put_varint(bytes, 0);
  put_varint(bytes, 127);
  put_varint(bytes, 128);
  put_varint(bytes, std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(bytes,
            Bytes("\x04\x03\x02\x01\x00\x7f\x80\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 18));
}

TEST(View, RoundTripsVarintsAtEveryLength) {
  for (unsigned shift = 0; shift < 64; ++shift) {
    for (const std::uint64_t value : {(std::uint64_t{1} << shift) - 1, std::uint64_t{1} << shift}) {
      Bytes bytes;
      put_varint(bytes, value);
      View in(bytes);
      EXPECT_EQ(in.take_varint(), value);
      EXPECT_TRUE(in.empty());
    }
  }
}

TEST(View, RefusesEveryEarlyEnd) {
  Bytes bytes;
  put_number(bytes, std::uint64_t{1});
  put_string(bytes, "abc");
  put_varint(bytes, 1u << 30);
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    const auto take_all = [&] {
      View in(bytes.data(), size);
      in.take_number<std::uint64_t>();
      in.take_string();
      in.take_varint();
    };
    EXPECT_THROW(take_all(), StateError) << size;
  }
}

TEST(View, RefusesLengthsAndVarintsThatLie) {
  const Bytes huge("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10);
  EXPECT_THROW(View(huge).take_string(), StateError);
  const Bytes over("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10);
  EXPECT_THROW(View(over).take_varint(), StateError);
  const Bytes endless(20, '\x80');
  EXPECT_THROW(View(endless).take_varint(), StateError);
}

}  // namespace
}  // namespace levada
