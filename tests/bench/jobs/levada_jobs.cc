// The jobs as programs of the library: public headers, default options.
#include <stdexcept>

#include "checksum_sink.h"
#include "rows.h"

namespace bench {
namespace {

using namespace std::chrono_literals;
using levada::DataStream;
using levada::StreamEnvironment;

levada::EnvironmentOptions environment(const Job& job, const LevadaOptions& options) {
  levada::EnvironmentOptions environment{.parallelism = job.parallelism, .memory = options.memory};
  if (!options.checkpoint_directory.empty()) {
    environment.checkpoint = {.interval = 1s, .directory = options.checkpoint_directory};
  }
  return environment;
}

levada::GenerateOptions source(const Job& job, std::uint64_t rows) {
  return {.rows = rows, .splits = job.parallelism};
}

template <class G>
DataStream<Row> generated(StreamEnvironment& env, const G& generator, const Job& job,
                          std::uint64_t rows) {
  return env
      .generate<Row>([generator](std::uint64_t i) { return generator.row(i); }, source(job, rows),
                     levada::event_time(&Row::at))
      .uid("rows");
}

DataStream<Row> rows_of(StreamEnvironment& env, const Job& job, std::uint64_t rows) {
  if (job.drawn == Keys::kUniform) return generated(env, Generator(job), job, rows);
  return generated(env, DrawnGenerator(job), job, rows);
}

DataStream<TextRow> text_rows_of(StreamEnvironment& env, const Job& job, std::uint64_t rows) {
  const Generator generator(job);
  return env
      .generate<TextRow>([generator](std::uint64_t i, TextRow& row) { generator.text_row(i, row); },
                         source(job, rows), levada::event_time(&TextRow::at))
      .uid("rows");
}

template <class Out, class Stream, class Fold>
void totals(const Stream& stream, Fold fold, ChecksumSink::Shared& shared) {
  stream
      .aggregate(levada::key().as(&Out::key), fold.as(&Out::total), levada::count().as(&Out::count))
      .uid("totals")
      .for_each(ChecksumSink(shared))
      .uid("sink");
}

// What the rolling aggregate does, as a function with state.
struct Summed {
  std::int64_t total = 0;
  std::int64_t count = 0;
};
LEVADA_RECORD(Summed, total, count)

struct Sums {
  levada::ValueState<Summed> sum{"sum"};

  void process(const Row& row, levada::KeyedContext<std::uint64_t, Total>& ctx) {
    Summed& so_far = sum.get();
    so_far.total += static_cast<std::int64_t>(row.value);
    ++so_far.count;
    ctx.emit({row.key, so_far.total, so_far.count});
  }
};

void process(const DataStream<Row>& rows, ChecksumSink::Shared& shared) {
  rows.key_by(&Row::key).process<Total>(Sums{}).uid("sums").for_each(ChecksumSink(shared)).uid("sink");
}

template <class Out, class R>
void keyed(const Job& job, const DataStream<R>& rows, ChecksumSink::Shared& shared) {
  const auto value = [](const R& row) { return static_cast<std::int64_t>(row.value); };
  const auto by_key = rows.key_by(&R::key);
  if (job.name.find("reduce") != std::string_view::npos) {
    totals<Out>(by_key, levada::sum(value), shared);
  } else if (job.name == "slide_1m_max") {
    totals<Out>(by_key.window(levada::sliding({.size = 10s, .slide = 1s})), levada::max(value), shared);
  } else if (job.name.starts_with("slide")) {
    totals<Out>(by_key.window(levada::sliding({.size = 10s, .slide = 1s})), levada::sum(value), shared);
  } else {
    totals<Out>(by_key.window(levada::tumbling(1s)), levada::sum(value), shared);
  }
}

void chain(const DataStream<Row>& rows, ChecksumSink::Shared& shared) {
  rows.map([](Row row) {
        row.value = row.value * 3 + 7;
        return row;
      })
      .filter([](const Row& row) { return row.value % 2 == 0; })
      .for_each(ChecksumSink(shared))
      .uid("sink");
}

}  // namespace

LevadaRun run_levada(const Job& job, std::uint64_t rows, const LevadaOptions& options) {
  ChecksumSink::Shared shared;
  LevadaRun run;
  {
    StreamEnvironment env(environment(job, options));
    if (job.name == "chain") {
      chain(rows_of(env, job, rows), shared);
    } else if (job.name.starts_with("process")) {
      process(rows_of(env, job, rows), shared);
    } else if (job.name.ends_with("string")) {
      keyed<TextTotal>(job, text_rows_of(env, job, rows), shared);
    } else {
      keyed<Total>(job, rows_of(env, job, rows), shared);
    }
    levada::Job running = env.execute_async(job.name);
    running.wait();
    run.checkpoints = running.status().checkpoints_completed;
  }
  run.checksum = shared.checksum();
  return run;
}

}  // namespace bench
