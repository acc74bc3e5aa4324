#include "sim/simulated_job.h"

#include <memory>
#include <utility>

#include "base/random.h"
#include "checkpoint/restore.h"
#include "operators/source_operator.h"

namespace levada::testing {

/// What CountRows keeps of a key.
struct KeyCount {
  std::int64_t rows = 0;
  std::string padding;
};
LEVADA_RECORD(KeyCount, rows, padding)

namespace {

constexpr const char* kSource = "rows";

// Spoils a row that is not the next one of its key, as its state has it.
struct CountRows {
  ValueState<KeyCount> count{"count"};
  std::size_t bytes = 0;

  void process(const SimulatedRow& row, KeyedContext<std::int64_t, SimulatedRow>& ctx) {
    KeyCount& known = count.get();
    known.padding.resize(bytes, 's');
    SimulatedRow out = row;
    out.check ^= known.rows++ - row.number / kKeys;
    ctx.emit(out);
  }
};

class RowEncoder final : public EpochEncoder {
 public:
  explicit RowEncoder(std::size_t padding) : padding_(padding) {}

  std::size_t encode(const Batch& batch, std::size_t first_row, std::size_t bytes_wanted,
                     EpochRecordBuffer& out) override {
    std::size_t row = first_row;
    for (; row < batch.size() && out.size_bytes() < bytes_wanted; ++row) {
      Bytes& body = out.begin(0);
      batch.type().encode(batch.row(row), 1, body);
      body.append(padding_, 'p');
      out.end();
    }
    return row;
  }
  std::string schema() const override { return "rows"; }

 private:
  const std::size_t padding_;
};

class SimulatedSink final : public SinkFactory {
 public:
  SimulatedSink(const SimulatedJob& job, PublishPace pace, SimulatedPostgres& server, int client)
      : server_(server), client_(client), shards_(job.shards), pace_(pace), padding_(job.padding) {}

  std::unique_ptr<SinkWriter> make_writer() override { return nullptr; }
  Guarantee best_guarantee() const override { return Guarantee::kExactlyOnce; }
  std::unique_ptr<EpochEncoder> make_encoder() override { return std::make_unique<RowEncoder>(padding_); }
  std::unique_ptr<EpochTarget> make_target(const EpochTargetContext& context) override {
    return make_marker_target(server_.connect(client_, {context.job, context.sink, context.shard}));
  }
  int shards() const override { return shards_; }
  PublishPace pace() const override { return pace_; }
  std::shared_ptr<const detail::KeyHasher> partitioning() const override { return by_key_; }

 private:
  SimulatedPostgres& server_;
  const int client_;
  const int shards_;
  const PublishPace pace_;
  const std::size_t padding_;
  const std::shared_ptr<const detail::KeyHasher> by_key_ =
      detail::make_key_selector<SimulatedRow>(&SimulatedRow::key);
};

}  // namespace

SimulatedRow make_row(std::uint64_t i) {
  const auto number = static_cast<std::int64_t>(i);
  return {static_cast<std::int64_t>(i % kKeys), number, static_cast<std::int64_t>(detail::mix(i))};
}

RowCounts SimulatedJob::all_rows() const {
  RowCounts counts{};
  for (std::uint64_t i = 0; i < rows; ++i) ++counts[i % kKeys];
  return counts;
}

void SimulatedJob::build(StreamEnvironment& env, SimulatedPostgres& server, int client) const {
  auto stream = env.generate<SimulatedRow>(make_row, {.rows = rows, .splits = splits}).uid(kSource);
  if (state_bytes > 0) {
    CountRows function;
    function.bytes = state_bytes;
    stream = stream.key_by(&SimulatedRow::key).process<SimulatedRow>(std::move(function)).uid("count");
  }
  for (const std::string& uid : sinks) {
    const PublishPace mine = uid == sinks.front() ? pace : other_pace;
    stream.sink_to(Sink<SimulatedRow>{std::make_shared<SimulatedSink>(*this, mine, server, client), "simulated"})
        .uid(uid);
  }
}

SimulatedRow read_row(std::string_view body, std::size_t padding) {
  View in(body);
  SimulatedRow row;
  Serde<SimulatedRow>::read(in, row);
  if (in.size() != padding) throw StateError("it has another length");
  return row;
}

RowCounts rows_read(FileSystem& files, const std::string& state_path, const Manifest& manifest) {
  const RestoredCheckpoint checkpoint(files, state_path, manifest);
  const RestoredNodeState state(checkpoint, kSource);
  std::vector<SplitState> splits;
  for (const View& bytes : state.operator_states(SourceOperator::kStateName)) decode_splits(bytes, splits);
  RowCounts counts{};
  for (const SplitState& split : splits) {
    const std::uint64_t read = std::stoull(split.split.position);
    for (std::uint64_t i = 0; i < read; ++i) {
      ++counts[(std::stoull(split.split.id) + i * splits.size()) % kKeys];
    }
  }
  return counts;
}

}  // namespace levada::testing
