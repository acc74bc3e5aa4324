#include "checkpoint/restore.h"

#include <functional>
#include <map>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "levada/error.h"

#include "checkpoint_builder.h"
#include "testing/simulated_file_system.h"

namespace levada {
namespace {

using ::testing::AllOf;
using testing::block_of;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::uint32_t kGroups = 16;

// Takes what is restored; the rest of the face is not called here.
class CollectingTable final : public StateTable {
 public:
  explicit CollectingTable(std::string schema = "{a:int64}", std::string name = "windows")
      : schema_(std::move(schema)), name_(std::move(name)) {}
  std::string_view name() const override { return name_; }
  std::string schema() const override { return schema_; }
  std::size_t entries() const override { return blocks.size(); }
  std::size_t memory_bytes() const override { return 0; }
  void begin_snapshot(CheckpointId, BlockSink&) override {}
  bool scan(std::size_t) override { return true; }
  void end_snapshot() override {}
  void abort_snapshot() override {}
  void restore(const RestoredBlock& block) override {
    blocks[{block.key_group, block.name_space}] += std::string(block.bytes.rest());
  }

  std::map<std::pair<std::uint32_t, std::int64_t>, std::string> blocks;

 private:
  std::string schema_;
  std::string name_;
};

class Restore : public ::testing::Test {
 protected:
  Restore() { files_.create_directories("/state"); }

  // The state of a node "window" at the given parallelism: each group twice, in two namespaces.
  RestoredCheckpoint written_at(std::uint32_t parallelism, std::size_t block_size = 10) {
    Manifest manifest;
    manifest.id = 7;
    manifest.nodes = {{"window", "tumbling", parallelism}};
    for (std::uint32_t subtask = 0; subtask < parallelism; ++subtask) {
      StateFileWriter writer(files_, "/state", "tmp-" + std::to_string(subtask),
                             [](const std::string&) { return true; });
      writer.put_operator_state("window", "times", "subtask " + std::to_string(subtask));
      writer.put_operator_state("other", "times", "not this one");
      const std::uint32_t table = writer.begin_table("window", "windows", "{a:int64}");
      const std::uint32_t other = writer.begin_table("other", "windows", "{b:int64}");
      for (std::uint32_t group = 0; group < kGroups; ++group) {
        if (group * parallelism / kGroups != subtask) continue;
        writer.put_block(other, block_of(group, "not this one"));
        for (const std::int64_t name_space : {-1, 1}) {
          writer.put_block(table,
                           block_of(group, bytes_of(group, name_space, block_size), name_space));
        }
      }
      manifest.subtasks.push_back({"window", subtask, writer.finish()});
    }
    return RestoredCheckpoint(files_, "/state", std::move(manifest));
  }

  // As the one before, but each subtask found namespace -1 unchanged, and what it refers to may be changed.
  RestoredCheckpoint kept_at(std::uint32_t parallelism,
                             const std::function<void(Manifest&)>& change = {}) {
    Manifest manifest = written_at(parallelism, 3000).manifest();
    manifest.id = 8;
    for (SubtaskState& subtask : manifest.subtasks) {
      StateFileWriter writer(files_, "/state", "tmp-" + std::to_string(subtask.subtask),
                             [](const std::string&) { return true; });
      const std::uint32_t table = writer.begin_table("window", "windows", "{a:int64}");
      writer.keep(table, -1, subtask.state, 3000);
      for (std::uint32_t group = 0; group < kGroups; ++group) {
        if (group * parallelism / kGroups != subtask.subtask) continue;
        writer.put_block(table, block_of(group, bytes_of(group, 1, 8000), 1));
      }
      subtask.older = {subtask.state};
      subtask.state = writer.finish();
    }
    if (change) change(manifest);
    return RestoredCheckpoint(files_, "/state", std::move(manifest));
  }

  // Whatever the parallelism that reads: all groups, each in one subtask, in both namespaces.
  static void expect_each_group_once(const RestoredNodeState& state,
                                     const std::function<std::size_t(std::int64_t)>& size_in) {
    for (std::uint32_t after = 1; after <= 5; ++after) {
      std::size_t blocks = 0;
      for (std::uint32_t subtask = 0; subtask < after; ++subtask) {
        const std::uint32_t first = (subtask * kGroups + after - 1) / after;
        const std::uint32_t last = ((subtask + 1) * kGroups + after - 1) / after;
        CollectingTable table;
        state.read_table(table, first, last);
        EXPECT_EQ(table.blocks.size(), 2 * (last - first));
        for (const auto& [key, bytes] : table.blocks) {
          EXPECT_EQ(bytes, bytes_of(key.first, key.second, size_in(key.second)));
        }
        blocks += table.blocks.size();
      }
      EXPECT_EQ(blocks, 2 * kGroups) << "read at " << after;
    }
  }

  static std::string bytes_of(std::uint32_t group, std::int64_t name_space, std::size_t size) {
    std::string bytes = std::to_string(group) + "@" + std::to_string(name_space);
    bytes.resize(std::max(bytes.size(), size), '.');
    return bytes;
  }

  testing::SimulatedFileSystem files_;
};

TEST_F(Restore, GivesEveryGroupToExactlyOneSubtaskAtAnyParallelism) {
  for (std::uint32_t before = 1; before <= 5; ++before) {
    SCOPED_TRACE(before);
    const std::size_t size = before == 2 ? 3000 : 10;  // once in files, else inline
    const RestoredCheckpoint checkpoint = written_at(before, size);
    expect_each_group_once(RestoredNodeState(checkpoint, "window"), [&](std::int64_t) { return size; });
  }
}

TEST_F(Restore, ReadsWhatWasKeptOutOfTheOlderFilesAtAnyParallelism) {
  for (std::uint32_t before = 1; before <= 3; ++before) {
    SCOPED_TRACE(before);
    const RestoredCheckpoint checkpoint = kept_at(before);
    const RestoredNodeState state(checkpoint, "window");
    expect_each_group_once(state,
                           [](std::int64_t name_space) { return name_space == -1 ? 3000u : 8000u; });
    EXPECT_THAT(state.operator_states("times"), ::testing::IsEmpty()) << "those of the older files are old";
  }
}

TEST_F(Restore, NamesTheFileThatDoesNotHaveWhatIsReferredTo) {
  const RestoredCheckpoint written = written_at(1, 3000);
  const StateHandle older = written.manifest().subtasks[0].state;
  for (const auto& [table, name_space] : {std::pair("windows", 5), std::pair("panes", -1)}) {
    StateFileWriter writer(files_, "/state", "tmp-0", [](const std::string&) { return true; });
    writer.keep(writer.begin_table("window", table, "{a:int64}"), name_space, older, 3000);
    Manifest manifest = written.manifest();
    manifest.subtasks[0].older = {older};
    manifest.subtasks[0].state = writer.finish();
    const RestoredCheckpoint checkpoint(files_, "/state", std::move(manifest));
    CollectingTable into("{a:int64}", table);
    try {
      RestoredNodeState(checkpoint, "window").read_table(into, 0, kGroups);
      FAIL();
    } catch (const StateError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr(older.file), HasSubstr(table),
                                      HasSubstr("namespace " + std::to_string(name_space))));
    }
  }
}

TEST_F(Restore, RefusesAStateThatRefersToOtherFilesThanTheManifest) {
  const auto error = [&](const std::function<void(Manifest&)>& change) -> std::string {
    try {
      kept_at(2, change);
    } catch (const StateError& failure) {
      return failure.what();
    }
    return "no error";
  };
  EXPECT_EQ(error({}), "no error");
  EXPECT_THAT(error([](Manifest& manifest) { manifest.subtasks[0].older.clear(); }),
              HasSubstr("other files than the manifest"));
  EXPECT_THAT(error([](Manifest& manifest) {
                std::swap(manifest.subtasks[0].older, manifest.subtasks[1].older);
              }),
              HasSubstr("other files than the manifest"));
}

TEST_F(Restore, OpensEveryFileOnce) {
  const RestoredCheckpoint checkpoint = kept_at(2, [](Manifest& manifest) {
    // Both subtasks refer to the same files.
    manifest.subtasks.push_back(manifest.subtasks[0]);
  });
  ASSERT_EQ(checkpoint.subtasks().size(), 3u);
  EXPECT_EQ(checkpoint.subtasks()[0].state, checkpoint.subtasks()[2].state);
  EXPECT_EQ(checkpoint.subtasks()[0].older, checkpoint.subtasks()[2].older);
  EXPECT_NE(checkpoint.subtasks()[0].older, checkpoint.subtasks()[1].older);
}

TEST_F(Restore, GivesOperatorStatesInSubtaskOrder) {
  const RestoredCheckpoint checkpoint = written_at(3);
  const RestoredNodeState state(checkpoint, "window");
  std::vector<std::string> states;
  for (const View& view : state.operator_states("times")) states.emplace_back(view.rest());
  EXPECT_THAT(states, ElementsAre("subtask 0", "subtask 1", "subtask 2"));
  EXPECT_THAT(state.operator_states("none"), ::testing::IsEmpty());
  EXPECT_EQ(state.checkpoint(), 7u);
}

TEST_F(Restore, KnowsTheNodesOfTheCheckpoint) {
  const RestoredCheckpoint checkpoint = written_at(3);
  ASSERT_NE(checkpoint.node("window"), nullptr);
  EXPECT_EQ(checkpoint.node("window")->parallelism, 3u);
  EXPECT_EQ(checkpoint.node("windows"), nullptr);
}

TEST_F(Restore, RefusesAnotherSchemaAndShowsBoth) {
  const RestoredCheckpoint checkpoint = written_at(2);
  const RestoredNodeState state(checkpoint, "window");
  CollectingTable table("{a:string}");
  try {
    state.read_table(table, 0, 0);  // even where it would read nothing
    FAIL();
  } catch (const StateError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr("'windows'"), HasSubstr("'window'"),
                                    HasSubstr("schema {a:int64}"), HasSubstr("{a:string}")));
  }
}

TEST_F(Restore, MakesEntriesOfAnOlderSchemaIntoThoseOfTheTable) {
  for (const std::size_t block_entries : {1u, 300u}) {
    Manifest manifest;
    manifest.nodes = {{"window", "tumbling", 1}};
    const auto block = [&](std::int64_t first, std::int64_t name_space) {
      Bytes bytes;
      for (std::size_t i = 0; i < block_entries; ++i) {
        put_string(bytes, "key " + std::to_string(i));
        put_number(bytes, static_cast<std::int32_t>(first) - static_cast<std::int32_t>(i));
      }
      StateBlock made = block_of(3, bytes, name_space);
      made.entries = static_cast<std::uint32_t>(block_entries);
      return made;
    };
    const auto writer = [&] {
      return std::make_unique<StateFileWriter>(files_, "/state", "tmp-0", [](const std::string&) { return true; });
    };
    // What was kept is of the schema before the last.
    auto older = writer();
    older->put_block(older->begin_table("window", "windows", "string -> {old:bool?,a:int32}?"), [&] {
      StateBlock made = block(0, 7);
      View in(made.bytes);
      Bytes bytes;
      for (std::uint32_t i = 0; i < made.entries; ++i) {
        put_string(bytes, in.take_string());
        bytes += '\1';
        bytes += std::string_view("\1\0", 2);  // old is there, and false
        put_number(bytes, in.take_number<std::int32_t>());
      }
      made.bytes = bytes;
      return made;
    }());
    const StateHandle kept = older->finish();
    auto newer = writer();
    const std::uint32_t table = newer->begin_table("window", "windows", "string -> {a:int32}");
    if (!kept.is_inline()) newer->keep(table, 7, kept, 3000);
    newer->put_block(table, block(-1, 8));
    SubtaskState subtask{"window", 0, newer->finish()};
    if (!kept.is_inline()) subtask.older = {kept};
    manifest.subtasks = {subtask};
    const RestoredCheckpoint checkpoint(files_, "/state", std::move(manifest));
    CollectingTable into("string -> {a:int64}?");
    RestoredNodeState(checkpoint, "window").read_table(into, 0, kGroups);
    EXPECT_EQ(into.blocks.size(), kept.is_inline() ? 1u : 2u);
    for (const auto& [place, bytes] : into.blocks) {
      View in(bytes);
      for (std::size_t i = 0; i < block_entries; ++i) {
        EXPECT_EQ(in.take_string(), "key " + std::to_string(i));
        EXPECT_EQ(in.take_number<std::uint8_t>(), 1);
        EXPECT_EQ(in.take_number<std::int64_t>(), (place.second == 8 ? -1 : 0) - static_cast<std::int64_t>(i));
      }
      EXPECT_TRUE(in.empty());
    }
    // Refused before a row is read, also when only what was kept cannot be.
    CollectingTable narrower("string -> {a:int32,old:bool}");
    EXPECT_THROW(RestoredNodeState(checkpoint, "window").read_table(narrower, 0, kGroups), StateError);
    EXPECT_TRUE(narrower.blocks.empty());
  }
}

TEST_F(Restore, FindsNothingForANodeThatIsNew) {
  const RestoredCheckpoint checkpoint = written_at(2);
  const RestoredNodeState state(checkpoint, "new");
  CollectingTable table;
  state.read_table(table, 0, kGroups);
  EXPECT_THAT(table.blocks, ::testing::IsEmpty());
}

TEST_F(Restore, SaysWhichFileIsGone) {
  const RestoredCheckpoint checkpoint = written_at(1, 3000);
  const std::string path = files_.all_files().at(0);
  Manifest manifest = checkpoint.manifest();
  files_.remove(path);
  try {
    const RestoredCheckpoint again(files_, "/state", std::move(manifest));
    FAIL();
  } catch (const StateError& error) {
    EXPECT_THAT(error.what(), AllOf(HasSubstr(path), HasSubstr("No such file")));
  }
}

TEST_F(Restore, RefusesABlockThatWasDamagedAfterTheIndexWasRead) {
  const RestoredCheckpoint checkpoint = written_at(1, 3000);
  files_.flip_bit(files_.all_files().at(0), 3500, 3);
  const RestoredNodeState state(checkpoint, "window");
  CollectingTable table;
  EXPECT_THROW(state.read_table(table, 0, kGroups), StateError);
}

}  // namespace
}  // namespace levada
