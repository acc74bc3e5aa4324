#include "checkpoint/state_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "levada/error.h"

#include "base/crc32c.h"
#include "base/random.h"
#include "checkpoint_builder.h"
#include "testing/simulated_file_system.h"

namespace levada {
namespace {

using testing::block_bytes;
using testing::block_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::SimulatedFileSystem;

class StateFile : public ::testing::Test {
 protected:
  StateFile() { files_.create_directories("/state"); }

  std::unique_ptr<StateFileWriter> make_writer() {
    return std::make_unique<StateFileWriter>(files_, "/state", "tmp-1",
                                             [this](const std::string& name) {
                                               reserved_.push_back(name);
                                               return wanted_;
                                             });
  }

  static StateHandle file_of(std::uint64_t length) {
    StateHandle handle{.file = {}, .length = length, .hash = {3, 4}, .inline_bytes = {}};
    handle.file = state_file_name(handle.hash, handle.length);
    return handle;
  }

  // A state of `count` blocks of `size` bytes.
  StateHandle write(std::uint32_t count, std::size_t size) {
    const auto writer = make_writer();
    writer->put_operator_state("source", "offsets", "at 5");
    writer->put_operator_state("source", "watermark", "");
    const std::uint32_t windows = writer->begin_table("window", "windows", "{a:int64}");
    const std::uint32_t timers = writer->begin_table("window", "timers", "int64");
    for (std::uint32_t i = 0; i < count; ++i) {
      writer->put_block(i % 2 == 0 ? windows : timers, {-5, i, i + 1, block_bytes(1, i, size)});
    }
    return writer->finish();
  }

  void expect_reads_back(const StateHandle& handle, std::uint32_t count, std::size_t size) {
    verify_state(files_, "/state", handle);
    const StateFileReader reader(files_, "/state", handle);
    ASSERT_EQ(reader.operator_states().size(), 2u);
    EXPECT_EQ(reader.operator_states()[0].node, "source");
    EXPECT_EQ(reader.operator_states()[0].name, "offsets");
    EXPECT_EQ(reader.operator_states()[0].bytes, "at 5");
    EXPECT_EQ(reader.operator_states()[1].bytes, "");
    ASSERT_EQ(reader.tables().size(), 2u);
    EXPECT_EQ(reader.tables()[0].schema, "{a:int64}");
    EXPECT_EQ(reader.tables()[1].name, "timers");
    std::array<std::size_t, 2> next{};
    for (std::uint32_t i = 0; i < count; ++i) {
      const auto& table = reader.tables()[i % 2];
      ASSERT_LT(next[i % 2], table.blocks.size());
      const StateFileReader::Block& block = table.blocks[next[i % 2]++];
      EXPECT_EQ(block.name_space, -5);
      EXPECT_EQ(block.key_group, i);
      EXPECT_EQ(block.entries, i + 1);
      Bytes bytes;
      reader.read_block(block, bytes);
      EXPECT_EQ(bytes, block_bytes(1, i, size));
    }
    EXPECT_EQ(next[0], reader.tables()[0].blocks.size());
    EXPECT_EQ(next[1], reader.tables()[1].blocks.size());
  }

  SimulatedFileSystem files_;
  std::vector<std::string> reserved_;
  bool wanted_ = true;
};

TEST_F(StateFile, OfASmallStateStaysInline) {
  const StateHandle handle = write(5, 100);
  EXPECT_TRUE(handle.is_inline());
  EXPECT_EQ(handle.length, handle.inline_bytes.size());
  EXPECT_THAT(files_.all_files(), IsEmpty());
  EXPECT_THAT(reserved_, IsEmpty());
  expect_reads_back(handle, 5, 100);
}

TEST_F(StateFile, OfALargeStateIsOneFileNamedByItsContent) {
  const StateHandle handle = write(9, 100'000);
  EXPECT_FALSE(handle.is_inline());
  EXPECT_THAT(files_.all_files(), ElementsAre("/state/" + handle.file));
  EXPECT_THAT(reserved_, ElementsAre(handle.file));
  EXPECT_EQ(handle.file, state_file_name(handle.hash, handle.length));
  EXPECT_TRUE(handle.file.starts_with("state-"));
  EXPECT_TRUE(handle.file.ends_with("-" + std::to_string(handle.length)));
  expect_reads_back(handle, 9, 100'000);
  EXPECT_EQ(write(9, 100'000), handle) << "the same content has the same name";
}

TEST_F(StateFile, GoesFromInlineToFileAtTheLimitAndNotBefore) {
  std::size_t largest_inline = 0;
  std::size_t smallest_file = SIZE_MAX;
  for (std::size_t size = StateFileWriter::kInlineBytesMax - 300;
       size < StateFileWriter::kInlineBytesMax + 50; ++size) {
    const StateHandle handle = write(1, size);
    expect_reads_back(handle, 1, size);
    if (handle.is_inline()) {
      largest_inline = std::max<std::size_t>(largest_inline, handle.length);
    } else {
      smallest_file = std::min<std::size_t>(smallest_file, handle.length);
    }
  }
  EXPECT_EQ(largest_inline, StateFileWriter::kInlineBytesMax);
  EXPECT_EQ(smallest_file, StateFileWriter::kInlineBytesMax + 1);
}

TEST_F(StateFile, WithoutAnythingInItReadsBack) {
  const StateHandle handle = make_writer()->finish();
  const StateFileReader reader(files_, "/state", handle);
  EXPECT_THAT(reader.operator_states(), IsEmpty());
  EXPECT_THAT(reader.tables(), IsEmpty());
}

TEST_F(StateFile, SaysInWhichOlderFilesTheNamespacesAreThatItKept) {
  const auto writer = make_writer();
  const std::uint32_t windows = writer->begin_table("window", "windows", "{a:int64}");
  const std::uint32_t timers = writer->begin_table("window", "timers", "int64");
  writer->keep(windows, 20, file_of(50'000), 49'000);
  writer->put_block(windows, block_of(0, std::string(30'000, 'x'), 30));
  writer->keep(timers, -7, file_of(40'000), 9'999);
  writer->keep(windows, 10, file_of(40'000), 0);
  writer->put_block(windows, block_of(1, std::string(10'000, 'y'), 30));
  const StateHandle handle = writer->finish();
  EXPECT_THAT(reserved_,
              ElementsAre(file_of(50'000).file, file_of(40'000).file, handle.file))
      << "before anything refers to it";

  const StateFileReader reader(files_, "/state", handle);
  EXPECT_THAT(reader.older_files(), ElementsAre(file_of(50'000), file_of(40'000)));
  const auto kept = [&](std::size_t table) {
    std::vector<std::pair<std::int64_t, std::size_t>> all;
    for (const auto& space : reader.tables()[table].kept) all.emplace_back(space.name_space, space.file);
    return all;
  };
  EXPECT_THAT(kept(0), ElementsAre(std::pair(10, 1), std::pair(20, 0)));
  EXPECT_THAT(kept(1), ElementsAre(std::pair(-7, 1)));
  EXPECT_EQ(reader.tables()[0].blocks.size(), 2u);

  const StateLayout layout = writer->take_layout();
  EXPECT_THAT(layout.older(), ElementsAre(file_of(50'000), file_of(40'000)));
  const StateLayout::Table* const table = layout.find_table("window", "windows");
  ASSERT_NE(table, nullptr);
  ASSERT_NE(layout.find(*table, 30), nullptr);
  EXPECT_EQ(*layout.find(*table, 30), handle);
  EXPECT_EQ(table->spaces.at(30).bytes, 40'000u);
  ASSERT_NE(layout.find(*table, 20), nullptr);
  EXPECT_EQ(*layout.find(*table, 20), file_of(50'000));
  EXPECT_EQ(layout.find(*table, 10), nullptr) << "less than a quarter of that file is referred to";
  EXPECT_EQ(layout.find(*table, 40), nullptr);
  EXPECT_EQ(layout.find_table("window", "panes"), nullptr);
}

TEST_F(StateFile, ThatStayedInlineCannotBeReferredTo) {
  const auto writer = make_writer();
  const std::uint32_t table = writer->begin_table("window", "windows", "{a:int64}");
  writer->put_block(table, block_of(0, "small", 30));
  writer->keep(table, 20, file_of(50'000), 49'000);
  ASSERT_TRUE(writer->finish().is_inline());
  const StateLayout layout = writer->take_layout();
  EXPECT_EQ(layout.find(layout.tables[0], 30), nullptr);
  EXPECT_NE(layout.find(layout.tables[0], 20), nullptr);
}

TEST_F(StateFile, OfACheckpointThatWasGivenUpRefersToNothing) {
  const auto writer = make_writer();
  const std::uint32_t table = writer->begin_table("window", "windows", "{a:int64}");
  wanted_ = false;
  EXPECT_THROW(writer->keep(table, 20, file_of(50'000), 49'000), StateError);
}

TEST_F(StateFile, SurvivesAPowerLossOnceItIsNamedAndItsDirectorySynced) {
  const StateHandle handle = write(9, 10'000);
  files_.sync_directory("/state");
  files_.crash(1);
  expect_reads_back(handle, 9, 10'000);
}

TEST_F(StateFile, OfACheckpointThatWasGivenUpIsNotNamed) {
  wanted_ = false;
  EXPECT_THROW(write(9, 10'000), StateError);
  EXPECT_THAT(files_.all_files(), IsEmpty());
}

TEST_F(StateFile, ThatIsNotFinishedLeavesNothing) {
  {
    const auto writer = make_writer();
    writer->put_block(writer->begin_table("n", "t", "s"), block_of(0, std::string(100'000, 'x')));
    EXPECT_THAT(files_.all_files(), ElementsAre("/state/tmp-1"));
  }
  EXPECT_THAT(files_.all_files(), IsEmpty());
}

TEST_F(StateFile, ThatCannotBeWrittenLeavesNothingAndSaysWhy) {
  for (const auto& [operation, nth] :
       std::vector<std::pair<testing::FileOperation, int>>{{testing::FileOperation::kCreate, 1},
                                                           {testing::FileOperation::kAppend, 1},
                                                           {testing::FileOperation::kAppend, 2},
                                                           {testing::FileOperation::kSync, 1},
                                                           {testing::FileOperation::kRename, 1}}) {
    files_.fail(operation, static_cast<std::uint64_t>(nth), ENOSPC);
    try {
      write(9, 100'000);
      FAIL() << "nothing failed";
    } catch (const StateError& error) {
      EXPECT_THAT(error.what(), HasSubstr("No space left on device"));
      EXPECT_THAT(error.what(), HasSubstr("/state/"));
    }
    EXPECT_THAT(files_.all_files(), IsEmpty());
  }
  expect_reads_back(write(9, 100'000), 9, 100'000);
}

TEST_F(StateFile, WithAnyFlippedBitIsNeverReadWrong) {
  const StateHandle good = write(3, 40);
  ASSERT_TRUE(good.is_inline());
  for (std::size_t bit = 0; bit < good.inline_bytes.size() * 8; ++bit) {
    StateHandle bad = good;
    bad.inline_bytes[bit / 8] = static_cast<char>(bad.inline_bytes[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_THROW(verify_state(files_, "/state", bad), StateError) << bit;
    const auto read_all = [&] {
      const StateFileReader reader(files_, "/state", bad);
      for (const auto& table : reader.tables()) {
        for (const auto& block : table.blocks) {
          Bytes bytes;
          reader.read_block(block, bytes);
        }
      }
    };
    EXPECT_THROW(read_all(), StateError) << bit;
  }
}

TEST_F(StateFile, WithAnyFlippedBitNeverRefersToWhatItDidNotMean) {
  const auto writer = make_writer();
  writer->keep(writer->begin_table("n", "t", "s"), 20, file_of(50'000), 1);
  const StateHandle good = writer->finish();
  for (std::size_t bit = 0; bit < good.inline_bytes.size() * 8; ++bit) {
    StateHandle bad = good;
    bad.inline_bytes[bit / 8] = static_cast<char>(bad.inline_bytes[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_THROW(StateFileReader(files_, "/state", bad), StateError) << bit;
  }
}

TEST_F(StateFile, WithAnyByteOfTheFileDamagedIsRefused) {
  const StateHandle handle = write(3, 6000);
  const std::string path = "/state/" + handle.file;
  for (std::uint64_t at = 0; at < handle.length;
       at += at < 100 || at + 400 > handle.length ? 1 : 37) {
    files_.flip_bit(path, at, at % 8);
    EXPECT_THROW(verify_state(files_, "/state", handle), StateError) << at;
    files_.flip_bit(path, at, at % 8);
  }
  verify_state(files_, "/state", handle);
}

TEST_F(StateFile, ThatWasCutIsRefusedAtEveryLength) {
  const StateHandle good = write(3, 40);
  for (std::size_t size = 0; size < good.length; ++size) {
    StateHandle bad = good;
    bad.inline_bytes.resize(size);
    EXPECT_THROW(StateFileReader(files_, "/state", bad), StateError) << size;
    bad.length = size;  // even when the manifest says so
    EXPECT_THROW(StateFileReader(files_, "/state", bad), StateError) << size;
  }
}

// An index with a right checksum that lies: sizes are checked before anything is allocated.
TEST_F(StateFile, WithAnIndexThatLiesIsRefused) {
  const auto handle_of = [](const Bytes& index) {
    StateHandle handle;
    handle.inline_bytes = Bytes("LVSTATE\x01", 8) + index;
    put_number(handle.inline_bytes, static_cast<std::uint64_t>(index.size()));
    put_number(handle.inline_bytes, crc32c(index));
    handle.inline_bytes += Bytes("LVSTATE\x01", 8);
    handle.length = handle.inline_bytes.size();
    return handle;
  };
  Bytes empty("\0\0\0\0\0", 5);  // operator states, older files, cold files, tables, blocks
  EXPECT_NO_THROW(StateFileReader(files_, "/state", handle_of(empty)));
  Bytes many;
  put_varint(many, UINT64_MAX);
  EXPECT_THROW(StateFileReader(files_, "/state", handle_of(many)), StateError);
  Bytes no_table("\0\0\0\0\x01", 5);
  no_table += Bytes(20, '\0');
  EXPECT_THROW(StateFileReader(files_, "/state", handle_of(no_table)), StateError);
  EXPECT_THROW(StateFileReader(files_, "/state", handle_of(empty + "x")), StateError);
  Bytes long_block("\0\0\0\x01\0\0\0\0\x01\0", 10);
  long_block += Bytes(11, '\0');
  put_varint(long_block, UINT64_MAX);
  put_number(long_block, std::uint32_t{0});
  EXPECT_THROW(StateFileReader(files_, "/state", handle_of(long_block)), StateError);

  Bytes many_files("\0", 1);
  put_varint(many_files, UINT64_MAX);
  EXPECT_THROW(StateFileReader(files_, "/state", handle_of(many_files)), StateError);
  // A name that leads out of the directory of the tier.
  Bytes cold_file("\0\0\x01\x04../x", 8);
  cold_file += Bytes(24, '\x05') + Bytes(2, '\0');
  EXPECT_THROW(StateFileReader(files_, "/state", handle_of(cold_file)), StateError);
  // One older file, one table without names, and what it keeps.
  const auto keeps = [&](std::uint64_t count, std::vector<std::pair<std::int64_t, char>> kept) {
    Bytes index("\0\x01", 2);
    index += Bytes(24, '\x05');
    index += Bytes("\0\x01\0\0\0", 5);
    put_varint(index, count);
    for (const auto& [name_space, file] : kept) {
      put_number(index, name_space);
      index += file;
    }
    return handle_of(index + '\0');
  };
  EXPECT_NO_THROW(StateFileReader(files_, "/state", keeps(2, {{-1, 0}, {7, 0}})));
  EXPECT_THROW(StateFileReader(files_, "/state", keeps(UINT64_MAX, {{-1, 0}, {7, 0}})), StateError);
  EXPECT_THROW(StateFileReader(files_, "/state", keeps(1, {{7, 1}})), StateError);
  EXPECT_THROW(StateFileReader(files_, "/state", keeps(2, {{7, 0}, {7, 0}})), StateError);
  EXPECT_THROW(StateFileReader(files_, "/state", keeps(2, {{7, 0}, {6, 0}})), StateError);
}

TEST_F(StateFile, SaysWhenItsVersionIsFromTheFuture) {
  StateHandle handle = write(1, 40);
  handle.inline_bytes[7] = 9;
  try {
    const StateFileReader reader(files_, "/state", handle);
    FAIL();
  } catch (const StateError& error) {
    EXPECT_THAT(error.what(), HasSubstr("format version 9 is unknown"));
  }
}

class CompressedStateFile : public StateFile, public ::testing::WithParamInterface<Compression> {
 protected:
  // Two blocks that get smaller and one that does not.
  StateHandle write_compressed(std::size_t size) {
    StateFileWriter writer(files_, "/state", "tmp-1", [](const std::string&) { return true; },
                           GetParam());
    const std::uint32_t table = writer.begin_table("window", "windows", "{a:int64}");
    writer.put_block(table, block_of(0, std::string(size, 'x')));
    writer.put_block(table, block_of(1, noise(size)));
    writer.put_block(table, block_of(2, std::string(2 * size, 'y')));
    return writer.finish();
  }

  static std::string noise(std::size_t size) {
    Random random(5);
    std::string bytes;
    while (bytes.size() < size) bytes += static_cast<char>(random.next());
    return bytes;
  }

  void expect_blocks(const StateHandle& handle, std::size_t size) {
    const StateFileReader reader(files_, "/state", handle);
    const auto& blocks = reader.tables().at(0).blocks;
    ASSERT_EQ(blocks.size(), 3u);
    EXPECT_EQ(blocks[0].compression, GetParam());
    EXPECT_EQ(blocks[1].compression, Compression::kNone) << "stored as it is";
    EXPECT_EQ(blocks[2].compression, GetParam());
    const std::string expected[] = {std::string(size, 'x'), noise(size), std::string(2 * size, 'y')};
    for (std::size_t i = 0; i < 3; ++i) {
      Bytes bytes;
      reader.read_block(blocks[i], bytes);
      EXPECT_EQ(bytes, expected[i]);
      EXPECT_EQ(blocks[i].full_length, expected[i].size());
    }
  }
};

TEST_P(CompressedStateFile, ReadsBackAndIsSmaller) {
  const StateHandle inlined = write_compressed(5'000);
  EXPECT_TRUE(inlined.is_inline());
  expect_blocks(inlined, 5'000);
  const StateHandle file = write_compressed(100'000);
  EXPECT_FALSE(file.is_inline());
  EXPECT_LT(file.length, 105'000u);
  expect_blocks(file, 100'000);
  verify_state(files_, "/state", file);
}

// Every bit of it: refused, or what it says is right all the same.
TEST_P(CompressedStateFile, WithAnyBitFlippedNeverReadsBackWrong) {
  const StateHandle handle = write_compressed(300);
  ASSERT_TRUE(handle.is_inline());
  for (std::size_t bit = 0; bit < handle.inline_bytes.size() * 8; ++bit) {
    StateHandle damaged = handle;
    damaged.inline_bytes[bit / 8] ^= static_cast<char>(1 << (bit % 8));
    try {
      expect_blocks(damaged, 300);
    } catch (const StateError&) {
    }
  }
}

// Its index is whole and lies: the length that a block has unpacked is anything.
TEST_P(CompressedStateFile, WhoseBlockLiesAboutItsLengthIsRefusedWithoutAllocatingIt) {
  const StateHandle handle = write_compressed(100'000);
  const StateFileReader reader(files_, "/state", handle);
  for (const std::uint64_t lie : {std::uint64_t{99'999}, std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
    StateFileReader::Block block = reader.tables()[0].blocks[0];
    block.full_length = lie;
    Bytes bytes;
    EXPECT_THROW(reader.read_block(block, bytes), StateError);
    EXPECT_LT(bytes.capacity(), 1'000'000u);
  }
}

INSTANTIATE_TEST_SUITE_P(Both, CompressedStateFile, ::testing::Values(Compression::kLz4, Compression::kZstd),
                         [](const auto& of) { return of.param == Compression::kLz4 ? "Lz4" : "Zstd"; });

TEST_F(StateFile, SaysHowEachBlockIsCompressed) {
  StateFileWriter writer(files_, "/state", "tmp-1", [](const std::string&) { return true; },
                         Compression::kLz4);
  writer.put_block(writer.begin_table("n", "t", "s"), {2, 3, 1, std::string(300, 'x')});
  const StateHandle handle = writer.finish();
  const Bytes* stored = nullptr;
  BlockCompressor compressor(Compression::kLz4);
  stored = compressor.compress(std::string(300, 'x'));
  ASSERT_NE(stored, nullptr);
  Bytes entry;
  put_number(entry, std::int64_t{2});
  entry += '\0';  // not removed
  put_varint(entry, 3);
  put_varint(entry, 1);
  put_varint(entry, stored->size());
  entry += '\x01';
  put_varint(entry, 300);
  put_number(entry, crc32c(*stored));
  EXPECT_THAT(handle.inline_bytes, HasSubstr(*stored));
  EXPECT_THAT(handle.inline_bytes, HasSubstr(entry));
}

TEST_F(StateFile, WithAnUnknownCompressionIsRefused) {
  StateHandle handle = write(1, 10);
  // The flag is in front of the last block's checksum, before the footer.
  Bytes& bytes = handle.inline_bytes;
  const std::size_t footer = bytes.size() - 20;
  bytes[footer - 5] = 3;
  View lengths(std::string_view(bytes).substr(footer));
  const auto index_length = lengths.take_number<std::uint64_t>();
  Bytes crc;
  put_number(crc, crc32c(std::string_view(bytes).substr(footer - index_length, index_length)));
  bytes.replace(footer + 8, 4, crc);
  try {
    const StateFileReader reader(files_, "/state", handle);
    FAIL();
  } catch (const StateError& error) {
    EXPECT_THAT(error.what(), HasSubstr("compressed in an unknown way"));
  }
}

// The format never changes silently.
TEST_F(StateFile, HasTheBytesItAlwaysHad) {
  const auto writer = make_writer();
  writer->put_operator_state("n", "o", "x");
  const std::uint32_t table = writer->begin_table("n", "t", "s");
  writer->put_block(table, {2, 3, 1, "bytes"});
  writer->keep(table, 9, file_of(20'000), 700);
  const StateHandle handle = writer->finish();
  Bytes index(
      "\x01\x01n\x01o\x01x"
      "\x01",
      8);
  for (const std::uint64_t number : {20'000, 3, 4}) put_number(index, number);
  index += Bytes("\0\x01\x01n\x01t\x01s\x01", 9);
  put_number(index, std::int64_t{9});
  index += Bytes("\0\x01\0", 3);
  put_number(index, std::int64_t{2});
  index += Bytes("\0\x03\x01\x05\0", 5);
  put_number(index, crc32c("bytes"));
  Bytes expected(
      "LVSTATE\x01"
      "bytes",
      13);
  expected += index;
  put_number(expected, static_cast<std::uint64_t>(index.size()));
  put_number(expected, crc32c(index));
  expected += Bytes("LVSTATE\x01", 8);
  EXPECT_EQ(handle.inline_bytes, expected);
}

}  // namespace
}  // namespace levada
