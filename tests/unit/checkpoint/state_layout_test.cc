#include "checkpoint/state_layout.h"

#include <gtest/gtest.h>

#include <set>

namespace levada {
namespace {

StateHandle file(std::uint64_t number, std::uint64_t length) {
  StateHandle handle{.file = {}, .length = length, .hash = {number, number}, .inline_bytes = {}};
  handle.file = state_file_name(handle.hash, handle.length);
  return handle;
}

std::set<std::size_t> worth_keeping(const StateLayout& layout) {
  std::set<std::size_t> files;
  for (std::size_t i = 0; i < layout.files.size(); ++i) {
    if (layout.files[i].worth_keeping) files.insert(i);
  }
  return files;
}

TEST(StateLayout, KeepsFilesOfWhichAQuarterIsReferredTo) {
  StateLayout layout;
  layout.files = {{file(1, 4000)}, {file(2, 4000)}, {file(3, 4000)}, {file(4, 4000)}};
  layout.tables = {{"n", "t", {{1, {0, 1000}}, {2, {1, 999}}, {3, {2, 500}}}},
                   {"n", "u", {{1, {2, 500}}}}};
  layout.judge();
  EXPECT_EQ(worth_keeping(layout), (std::set<std::size_t>{0, 2}));
}

TEST(StateLayout, GivesTheSmallerHalfUpWhenThereAreTooManyFiles) {
  StateLayout layout;
  layout.files.clear();
  layout.tables = {{"n", "t", {}}};
  std::set<std::size_t> larger;
  for (std::size_t i = 0; i <= StateLayout::kFilesMax; ++i) {
    const bool small = i % 2 == 1;
    const std::uint64_t bytes = small ? 20'000 : 90'000;
    layout.files.push_back({file(i, bytes)});
    layout.tables[0].spaces[static_cast<std::int64_t>(i)] = {i, bytes};
    if (!small) larger.insert(i);
    layout.judge();
    if (i < StateLayout::kFilesMax) {
      EXPECT_EQ(worth_keeping(layout).size(), i + 1);
    }
  }
  EXPECT_EQ(worth_keeping(layout), larger);
}

}  // namespace
}  // namespace levada
