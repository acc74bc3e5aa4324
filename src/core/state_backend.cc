#include "levada/state_backend.h"

#include <cstdint>
#include <string>
#include <utility>

#include "levada/error.h"

#include "core/key_group_blocks.h"
#include "core/state_migration.h"

namespace levada {

CapturedRows::Entry CapturedRows::take(View& left) {
  const auto header = left.take_number<std::uint64_t>();
  Entry entry;
  entry.index = static_cast<std::uint32_t>(header) & 0x7fff;
  entry.removed = (header >> 15 & 1) != 0;
  entry.bytes = left.take(header >> 16);
  return entry;
}

void BlockSink::captured(CapturedRows&& rows) {
  rows.last = true;
  KeyGroupBlocks blocks;
  const auto take = [this](StateBlock& made) { block(std::move(made)); };
  blocks.add(rows, take);
  blocks.give_rest(SIZE_MAX, take);
}

bool StateTable::find_value(std::int64_t, std::uint64_t, View, Bytes&) {
  throw StateError("state '" + std::string(name()) + "' cannot be queried");
}

// An operator value := schema:string value
void SnapshotContext::put_operator_value(const StateSpec& state, std::string_view encoded) {
  Bytes bytes;
  put_string(bytes, state.schema);
  bytes += encoded;
  put_operator_state(state.name, bytes);
}

std::vector<Bytes> RestoredState::operator_values(const StateSpec& state) const {
  std::vector<Bytes> values;
  for (View bytes : operator_states(state.name)) {
    const std::string written(bytes.take_string());
    const StateMigration migration = plan_migration(written, state.schema, state.types);
    if (migration.refused()) {
      throw StateError("state '" + state.name + "': " + refusal_of(written, state.schema, migration.problems));
    }
    Bytes& value = values.emplace_back();
    if (migration.transcoder) {
      migration.transcoder->transcode(bytes, 1, value);
    } else {
      value = bytes.rest();
    }
  }
  return values;
}

}  // namespace levada
