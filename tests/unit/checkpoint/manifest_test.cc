#include "checkpoint/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "levada/error.h"

#include "base/crc32c.h"

namespace levada {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

StateHandle small_file() {
  StateHandle file;
  file.length = 5;
  file.file = state_file_name(file.hash, file.length);
  return file;
}

Manifest sample() {
  Manifest manifest;
  manifest.job_name = "orders";
  manifest.id = (std::uint64_t{3} << 32) + 7;
  manifest.previous = (std::uint64_t{3} << 32) + 6;
  manifest.incarnation = 3;
  manifest.max_parallelism = 128;
  manifest.created = Timestamp{1700000000s};
  manifest.final = true;
  manifest.savepoint = true;
  manifest.nodes = {{"orders", "kafka: orders", 2}, {"per-user", "tumbling windows", 3}};
  StateHandle inlined;
  inlined.inline_bytes = "state";
  inlined.length = 5;
  inlined.hash = {1, 2};
  StateHandle file;
  file.length = 20'000;
  file.hash = {0x0123456789abcdef, 0xfedcba9876543210};
  file.file = state_file_name(file.hash, file.length);
  StateHandle older = file;
  older.hash.low = 7;
  older.file = state_file_name(older.hash, older.length);
  manifest.subtasks = {{"orders → per-user", 0, inlined, {file}},
                       {"orders → per-user", 1, file, {older, small_file()}}};
  const EpochSegment segment{.subtask = 1, .epoch = 41, .bytes = 99, .records = 3, .hash = {5, 6}};
  manifest.sinks = {{.uid = "to totals",
                     .name = "PostgreSQL totals",
                     .generation = 12,
                     .published = {40, 0},
                     .epochs = {{.id = 41, .segments = {segment}}, {.id = 43, .segments = {}}}}};
  return manifest;
}

std::string error_of(std::string_view bytes) {
  try {
    decode_manifest(bytes, "/checkpoints/manifest-7");
  } catch (const StateError& error) {
    return error.what();
  }
  return "no error";
}

// Puts a right checksum under bytes that were changed.
Bytes signed_again(Bytes bytes) {
  bytes.resize(bytes.size() - 4);
  put_number(bytes, crc32c(bytes));
  return bytes;
}

TEST(Manifest, DecodesToWhatWasEncoded) {
  EXPECT_EQ(decode_manifest(encode(sample()), "m"), sample());
  EXPECT_EQ(decode_manifest(encode(Manifest{}), "m"), Manifest{});
}

TEST(Manifest, NamesAStateFileByItsHashAndLength) {
  const Manifest manifest = decode_manifest(encode(sample()), "m");
  EXPECT_EQ(manifest.subtasks[1].state.file, "state-0123456789abcdeffedcba9876543210-20000");
}

TEST(Manifest, WithAnyFlippedBitIsRefused) {
  const Bytes good = encode(sample());
  for (std::size_t bit = 0; bit < good.size() * 8; ++bit) {
    Bytes bad = good;
    bad[bit / 8] = static_cast<char>(bad[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_THROW(decode_manifest(bad, "m"), StateError) << bit;
  }
}

TEST(Manifest, CutOrContinuedIsRefused) {
  const Bytes good = encode(sample());
  for (std::size_t size = 0; size < good.size(); ++size) {
    EXPECT_THROW(decode_manifest(std::string_view(good).substr(0, size), "m"), StateError) << size;
  }
  EXPECT_THROW(decode_manifest(good + "x", "m"), StateError);
}

TEST(Manifest, ThatIsRefusedIsNamedWithWhatIsWrong) {
  Bytes bytes = encode(sample());
  EXPECT_THAT(error_of("nonsense and more of it"),
              AllOf(HasSubstr("/checkpoints/manifest-7"), HasSubstr("not a manifest")));
  bytes[20] = static_cast<char>(bytes[20] ^ 1);
  EXPECT_THAT(error_of(bytes), HasSubstr("checksum"));
  bytes[7] = 9;
  EXPECT_THAT(error_of(bytes), HasSubstr("version 9"));
}

// Whoever can write the file can also make its checksum right: any byte may lie.
TEST(Manifest, WithARightChecksumButLyingBytesIsNeverOutOfBounds) {
  const Bytes good = encode(sample());
  std::size_t decoded = 0;
  for (std::size_t at = 16; at < good.size() - 4; ++at) {
    for (const char lie : {'\0', '\x01', '\x7f', '\xff'}) {
      Bytes bad = good;
      bad[at] = lie;
      try {
        const Manifest manifest = decode_manifest(signed_again(bad), "m");
        for (const SubtaskState& subtask : manifest.subtasks) {
          EXPECT_EQ(subtask.state.file.find('/'), std::string::npos);
          for (const StateHandle& older : subtask.older) {
            EXPECT_TRUE(older.file.starts_with("state-"));
            EXPECT_EQ(older.file.find('/'), std::string::npos);
          }
        }
        ++decoded;
      } catch (const StateError&) {
      }
    }
  }
  EXPECT_GT(decoded, 0u);
}

// The two counts before the checksum, of a byte each, become one that never ends.
void expect_refused_with_endless_counts(Bytes bytes) {
  bytes.resize(bytes.size() - 6);
  put_varint(bytes, UINT64_MAX);
  const std::uint64_t body = bytes.size() - 16;
  std::memcpy(bytes.data() + 8, &body, sizeof body);
  EXPECT_THAT(error_of(signed_again(bytes + "1234")), HasSubstr("end early"));
}

TEST(Manifest, WithACountThatLiesAllocatesNothingForIt) {
  Manifest manifest = sample();
  manifest.nodes.clear();
  manifest.subtasks.clear();
  // The two counts are the last bytes before the checksum: both become endless.
  expect_refused_with_endless_counts(encode(manifest));
}

TEST(Manifest, WithACountOfOlderFilesThatLiesAllocatesNothingForIt) {
  Manifest manifest = sample();
  manifest.nodes.clear();
  manifest.sinks.clear();
  manifest.subtasks.resize(1);
  manifest.subtasks[0].older.clear();
  // That count, that of the sinks, and the checksum are the last bytes.
  expect_refused_with_endless_counts(encode(manifest));
}

// The format never changes silently.
TEST(Manifest, HasTheBytesItAlwaysHad) {
  Manifest manifest;
  manifest.job_name = "j";
  manifest.id = 1;
  manifest.incarnation = 2;
  manifest.max_parallelism = 3;
  manifest.nodes = {{"u", "n", 4}};
  StateHandle state;
  state.inline_bytes = "s";
  state.length = 1;
  StateHandle older;
  older.length = 15;
  older.hash = {16, 17};
  older.file = state_file_name(older.hash, older.length);
  manifest.subtasks = {{"c", 5, state, {older}}};
  manifest.sinks = {{.uid = "u",
                     .name = "n",
                     .generation = 6,
                     .published = {7, 0},
                     .epochs = {{.id = 8, .segments = {{9, 10, 11, 12, {13, 14}}}}}}};
  Bytes body("\x01j", 2);
  for (const std::uint64_t number : {1, 0, 2}) put_number(body, number);
  put_number(body, std::uint32_t{3});
  put_number(body, std::int64_t{0});
  body += Bytes(
      "\0\0\x01\x01u\x01n\x04\0\0\0\x01\x01"
      "c\x05\0\0\0\0",
      19);
  put_number(body, std::uint64_t{1});
  body += Bytes(16, '\0') + "s";
  body += '\x01';
  for (const std::uint64_t number : {15, 16, 17}) put_number(body, number);
  body += Bytes("\x01\x01u\x01n", 5);
  put_number(body, std::uint64_t{6});
  body += '\x02';
  for (const std::uint64_t number : {7, 0}) put_number(body, number);
  body += '\x01';
  put_number(body, std::uint64_t{8});
  body += '\x01';
  put_number(body, std::uint32_t{9});
  for (const std::uint64_t number : {10, 11, 12, 13, 14}) put_number(body, number);
  Bytes expected("LVMANIF\x01", 8);
  put_number(expected, static_cast<std::uint64_t>(body.size()));
  expected += body;
  put_number(expected, crc32c(expected));
  EXPECT_EQ(encode(manifest), expected);
}

}  // namespace
}  // namespace levada
