// The format, version 1. Numbers are little-endian; string = varint length, bytes.
//
//   manifest := "LVMANIF" version:u8 body_length:u64 body crc32c:u32    of everything before it
//   body     := job:string id:u64 previous:u64 incarnation:u64 max_parallelism:u32
//               created:i64 final:u8 savepoint:u8
//               count:varint node*
//               count:varint subtask*
//               count:varint sink*
//   node     := uid:string name:string parallelism:u32
//   subtask  := chain:string subtask:u32 where:u8 length:u64 hash_high:u64 hash_low:u64
//               (where = 0: bytes of that length; where = 1: the file named by hash and length)
//               count:varint older*
//   older    := length:u64 hash_high:u64 hash_low:u64     a file
//   sink     := uid:string name:string generation:u64
//               count:varint published:u64*           one a shard, at least one
//               count:varint epoch*
//   epoch    := id:u64 count:varint segment*
//   segment  := subtask:u32 epoch:u64 length:u64 records:u64 hash_high:u64 hash_low:u64
//               (in log/<percent-encoded uid>/<subtask>/)
#include "checkpoint/manifest.h"

#include "levada/error.h"

#include "base/crc32c.h"

namespace levada {
namespace {

constexpr std::string_view kMagic = "LVMANIF";
constexpr std::uint8_t kVersion = 1;
constexpr std::uint8_t kInline = 0;
constexpr std::uint8_t kFile = 1;

void put(Bytes& out, const NodeState& node) {
  put_string(out, node.uid);
  put_string(out, node.name);
  put_number(out, node.parallelism);
}

void put(Bytes& out, const SubtaskState& subtask) {
  const StateHandle& state = subtask.state;
  put_string(out, subtask.chain);
  put_number(out, subtask.subtask);
  put_number(out, state.is_inline() ? kInline : kFile);
  put_content(out, state);
  if (state.is_inline()) out += state.inline_bytes;
  put_varint(out, subtask.older.size());
  for (const StateHandle& older : subtask.older) put_content(out, older);
}

void put(Bytes& out, const SinkState& sink) {
  put_string(out, sink.uid);
  put_string(out, sink.name);
  put_number(out, sink.generation);
  put_varint(out, sink.published.size());
  for (const CheckpointId published : sink.published) put_number(out, published);
  put_varint(out, sink.epochs.size());
  for (const SinkEpoch& epoch : sink.epochs) {
    put_number(out, epoch.id);
    put_varint(out, epoch.segments.size());
    for (const EpochSegment& segment : epoch.segments) {
      put_number(out, segment.subtask);
      put_number(out, segment.epoch);
      put_number(out, segment.bytes);
      put_number(out, segment.records);
      put_number(out, segment.hash.high);
      put_number(out, segment.hash.low);
    }
  }
}

Bytes encode_body(const Manifest& manifest) {
  Bytes body;
  put_string(body, manifest.job_name);
  put_number(body, manifest.id);
  put_number(body, manifest.previous);
  put_number(body, manifest.incarnation);
  put_number(body, manifest.max_parallelism);
  put_number(body, static_cast<std::int64_t>(manifest.created.time_since_epoch().count()));
  put_number(body, static_cast<std::uint8_t>(manifest.final));
  put_number(body, static_cast<std::uint8_t>(manifest.savepoint));
  put_varint(body, manifest.nodes.size());
  for (const NodeState& node : manifest.nodes) put(body, node);
  put_varint(body, manifest.subtasks.size());
  for (const SubtaskState& subtask : manifest.subtasks) put(body, subtask);
  put_varint(body, manifest.sinks.size());
  for (const SinkState& sink : manifest.sinks) put(body, sink);
  return body;
}

bool take_flag(View& in) {
  const auto flag = in.take_number<std::uint8_t>();
  if (flag > 1) throw StateError("a flag is neither 0 nor 1");
  return flag == 1;
}

NodeState take_node(View& in) {
  NodeState node;
  node.uid = in.take_string();
  node.name = in.take_string();
  node.parallelism = in.take_number<std::uint32_t>();
  return node;
}

SubtaskState take_subtask(View& in) {
  SubtaskState subtask;
  subtask.chain = in.take_string();
  subtask.subtask = in.take_number<std::uint32_t>();
  const auto where = in.take_number<std::uint8_t>();
  StateHandle& state = subtask.state = take_content(in);
  if (where == kInline) {
    state.inline_bytes = in.take(state.length);
  } else if (where == kFile) {
    state.file = state_file_name(state.hash, state.length);
  } else {
    throw StateError("a state is nowhere");
  }
  for (std::uint64_t count = in.take_varint(); count > 0; --count) {
    subtask.older.push_back(take_file(in));
  }
  return subtask;
}

EpochSegment take_segment(View& in) {
  EpochSegment segment;
  segment.subtask = in.take_number<std::uint32_t>();
  segment.epoch = in.take_number<std::uint64_t>();
  segment.bytes = in.take_number<std::uint64_t>();
  segment.records = in.take_number<std::uint64_t>();
  segment.hash.high = in.take_number<std::uint64_t>();
  segment.hash.low = in.take_number<std::uint64_t>();
  return segment;
}

SinkState take_sink(View& in) {
  SinkState sink;
  sink.uid = in.take_string();
  sink.name = in.take_string();
  sink.generation = in.take_number<std::uint64_t>();
  for (std::uint64_t count = in.take_varint(); count > 0; --count) {
    sink.published.push_back(in.take_number<std::uint64_t>());
  }
  if (sink.published.empty()) throw StateError("a sink has no shards");
  for (std::uint64_t count = in.take_varint(); count > 0; --count) {
    SinkEpoch& epoch = sink.epochs.emplace_back();
    epoch.id = in.take_number<std::uint64_t>();
    for (std::uint64_t more = in.take_varint(); more > 0; --more) {
      epoch.segments.push_back(take_segment(in));
    }
  }
  return sink;
}

Manifest take_body(View in) {
  Manifest manifest;
  manifest.job_name = in.take_string();
  manifest.id = in.take_number<std::uint64_t>();
  manifest.previous = in.take_number<std::uint64_t>();
  manifest.incarnation = in.take_number<std::uint64_t>();
  manifest.max_parallelism = in.take_number<std::uint32_t>();
  manifest.created = Timestamp{Duration{in.take_number<std::int64_t>()}};
  manifest.final = take_flag(in);
  manifest.savepoint = take_flag(in);
  // A count that lies ends at the first element that is not there.
  for (std::uint64_t count = in.take_varint(); count > 0; --count) {
    manifest.nodes.push_back(take_node(in));
  }
  for (std::uint64_t count = in.take_varint(); count > 0; --count) {
    manifest.subtasks.push_back(take_subtask(in));
  }
  for (std::uint64_t count = in.take_varint(); count > 0; --count) {
    manifest.sinks.push_back(take_sink(in));
  }
  if (!in.empty()) throw StateError("bytes are left over");
  return manifest;
}

Manifest decode(std::string_view bytes) {
  View in(bytes);
  if (in.take(kMagic.size()) != kMagic) throw StateError("it is not a manifest");
  const auto version = in.take_number<std::uint8_t>();
  if (version != kVersion) {
    throw StateError("its format version " + std::to_string(version) + " is unknown");
  }
  const auto body_length = in.take_number<std::uint64_t>();
  const std::string_view body = in.take(body_length);
  const auto crc = in.take_number<std::uint32_t>();
  if (!in.empty()) throw StateError("bytes are left over");
  if (crc32c(bytes.substr(0, bytes.size() - sizeof crc)) != crc) {
    throw StateError("its checksum differs");
  }
  return take_body(View(body));
}

}  // namespace

Bytes encode(const Manifest& manifest) {
  const Bytes body = encode_body(manifest);
  Bytes out(kMagic);
  put_number(out, kVersion);
  put_number(out, static_cast<std::uint64_t>(body.size()));
  out += body;
  put_number(out, crc32c(out));
  return out;
}

Manifest decode_manifest(std::string_view bytes, const std::string& file) {
  try {
    return decode(bytes);
  } catch (const StateError& error) {
    throw StateError("'" + file + "' is damaged: " + error.what());
  }
}

}  // namespace levada
