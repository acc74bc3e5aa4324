#include "checkpoint/canonical_state.h"

#include <utility>

#include "levada/assert.h"

namespace levada {
namespace {

constexpr std::size_t kStepBytes = 1024 * 1024;
constexpr std::size_t kStepEntries = 64 * 1024;

}  // namespace

CanonicalState::CanonicalState(FileSystem& files, std::shared_ptr<const RestoredCheckpoint> checkpoint,
                               std::size_t subtask, const ColdReading& reading, std::string into)
    : writer_(files, std::move(into), "tmp-savepoint", [](const std::string&) { return true; }, reading.compression),
      tables_(checkpoint, subtask, reading, *this) {
  for (const StateFileReader::OperatorState& value : checkpoint->subtasks()[subtask].state->operator_states()) {
    writer_.put_operator_state(value.node, value.name, value.bytes);
  }
}

std::size_t CanonicalState::step() {
  LEVADA_ASSERT(!complete_, "it is written once");
  const std::size_t before = tables_.bytes();
  for (std::size_t i = 0; i < kStepEntries && tables_.bytes() - before < kStepBytes; ++i) {
    if (tables_.advance()) continue;
    handle_ = writer_.finish();
    complete_ = true;
    break;
  }
  return tables_.bytes() - before;
}

std::uint32_t CanonicalState::begin_table(const std::string& node, const std::string& name,
                                          const std::string& schema) {
  return writer_.begin_table(node, name, schema);
}

void CanonicalState::put_block(std::uint32_t table, StateBlock&& block) { writer_.put_block(table, block); }

}  // namespace levada
