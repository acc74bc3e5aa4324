// What exactly-once output into PostgreSQL costs:
//   insert   the throughput beside at least once, with a checkpoint each 100 ms
//   upsert   new rows a second beside a bare loop of COPY and INSERT … ON CONFLICT
//   visible  how long after a row was due a reader sees it, with a checkpoint each 100 ms
//
//   exactly_once_bench --postgres CONNINFO [--rows N=1000000] [--repeats N=5] [--rate ROWS_PER_S=10000]
//                      [--seconds N=30]
//
// Sides run in turn, on the wall clock, for the server does most of the work; medians count. Every table is
// checked. Prints lines of key=value. Exit code: 1 when a table is wrong.
#include <algorithm>
#include <chrono>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <exception>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include <unistd.h>

#include <pqxx/pqxx>

#include "command_line.h"
#include "delays.h"
#include "levada/connectors/postgres.h"
#include "levada/levada.h"
#include "median.h"
#include "support/temp_dir.h"

namespace bench {
namespace {

using levada::Duration;
using levada::Guarantee;
using levada::Timestamp;
using namespace std::chrono_literals;
using SteadyClock = std::chrono::steady_clock;

constexpr Duration kShortInterval = 100ms;
constexpr Duration kOrdinaryInterval = 1s;
constexpr std::int64_t kBareTransactionRows = 100'000;
constexpr Duration kWarmUp = 3s;
constexpr double kThroughputLimit = 0.8;   // of at least once
constexpr double kUpsertLimit = 1.2;       // times the bare loop's time
constexpr double kVisibleLimitMs = 250;    // p99

struct Options {
  std::string conninfo;
  std::int64_t rows = 1'000'000;
  int repeats = 5;
  double rate = 10'000;
  std::chrono::seconds measured{30};
};

struct Payment {
  std::int64_t id = 0;
  std::int64_t account = 0;
  std::int64_t amount = 0;
  Timestamp at;
};
LEVADA_RECORD(Payment, id, account, amount, at)

// The finaliser of SplitMix64 (Steele, Lea, Flood, 2014): ids in random order, none twice.
std::int64_t mixed(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
  return static_cast<std::int64_t>(x ^ (x >> 31));
}

Payment make_payment(std::uint64_t number, bool in_order) {
  const auto n = static_cast<std::int64_t>(number);
  return {.id = in_order ? n : mixed(number),
          .account = n % 1000,
          .amount = n % 9973,
          .at = Timestamp{std::chrono::milliseconds{1'700'000'000'000 + n}}};
}

// A table of this run's own.
class Table {
 public:
  Table(const std::string& conninfo, const char* word, bool with_key)
      : connection_(conninfo), name_(std::string("bench_") + word + "_" + std::to_string(getpid())) {
    run("CREATE TABLE " + name_ + " (id bigint" + (with_key ? " PRIMARY KEY" : "") +
        ", account bigint NOT NULL, amount bigint NOT NULL, at timestamptz NOT NULL)");
  }
  ~Table() {
    try {
      run("DROP TABLE " + name_);
      run("DROP SCHEMA IF EXISTS " + markers() + " CASCADE");
    } catch (const std::exception& error) {
      std::fprintf(stderr, "exactly_once_bench: %s\n", error.what());
    }
  }
  Table(const Table&) = delete;
  Table& operator=(const Table&) = delete;

  const std::string& name() const { return name_; }
  std::string markers() const { return name_ + "_markers"; }
  pqxx::connection& connection() { return connection_; }

  void check(std::int64_t rows) {
    std::int64_t amount = 0;
    for (std::int64_t n = 0; n < rows; ++n) amount += n % 9973;
    pqxx::nontransaction work(connection_);
    const pqxx::row found = work.exec1("SELECT count(*), coalesce(sum(amount), 0)::int8 FROM " + name_);
    const auto count = found[0].as<std::int64_t>();
    const auto sum = found[1].as<std::int64_t>();
    if (count == rows && sum == amount) return;
    throw std::runtime_error(name_ + " has " + std::to_string(count) + " rows that sum up to " +
                             std::to_string(sum) + ", not " + std::to_string(rows) + " and " +
                             std::to_string(amount));
  }

 private:
  void run(const std::string& statement) {
    pqxx::nontransaction work(connection_);
    work.exec0(statement);
  }

  pqxx::connection connection_;
  std::string name_;
};

double seconds_since(SteadyClock::time_point begun) {
  return std::chrono::duration<double>(SteadyClock::now() - begun).count();
}

// Rows 0, 1, … through a job into the table; rows a second, from execute to its end.
double run_job(const Options& options, Table& table, bool upsert, Guarantee guarantee, Duration interval) {
  const levada::testing::TempDir folder;
  levada::StreamEnvironment env({.checkpoint = {.interval = interval, .directory = folder.path()}});
  const auto rows = env.generate<Payment>(
                           [upsert](std::uint64_t n, Payment& row) { row = make_payment(n, !upsert); },
                           {.rows = static_cast<std::uint64_t>(options.rows)})
                        .uid("payments");
  if (upsert) {
    rows.sink_to(levada::postgres::upsert<Payment>({.connection = options.conninfo,
                                                    .table = table.name(),
                                                    .key = {&Payment::id},
                                                    .guarantee = guarantee,
                                                    .marker_schema = table.markers()}))
        .uid("table");
  } else {
    rows.sink_to(levada::postgres::insert<Payment>({.connection = options.conninfo,
                                                    .table = table.name(),
                                                    .guarantee = guarantee,
                                                    .marker_schema = table.markers()}))
        .uid("table");
  }
  const auto begun = SteadyClock::now();
  env.execute("bench");
  const double seconds = seconds_since(begun);
  table.check(options.rows);
  return static_cast<double>(options.rows) / seconds;
}

double run_bare_upsert(const Options& options, Table& table) {
  pqxx::connection connection(options.conninfo);
  {
    pqxx::nontransaction work(connection);
    work.exec0("CREATE TEMP TABLE stage (id bigint, account bigint, amount bigint, at timestamptz) "
               "ON COMMIT DELETE ROWS");
  }
  const auto begun = SteadyClock::now();
  for (std::int64_t first = 0; first < options.rows; first += kBareTransactionRows) {
    pqxx::work work(connection);
    pqxx::stream_to copy(work, "stage");
    for (std::int64_t n = first; n < std::min(options.rows, first + kBareTransactionRows); ++n) {
      const Payment row = make_payment(static_cast<std::uint64_t>(n), false);
      char at[64];
      const std::int64_t ms = row.at.time_since_epoch() / 1ms;
      const std::time_t second = ms / 1000;
      std::tm utc{};
      gmtime_r(&second, &utc);
      const std::size_t size = std::strftime(at, sizeof at, "%Y-%m-%d %H:%M:%S", &utc);
      std::snprintf(at + size, sizeof at - size, ".%03d+00", static_cast<int>(ms % 1000));
      copy << std::make_tuple(row.id, row.account, row.amount, std::string(at));
    }
    copy.complete();
    work.exec0("INSERT INTO " + table.name() +
               " SELECT * FROM stage ON CONFLICT (id) DO UPDATE SET account = EXCLUDED.account, "
               "amount = EXCLUDED.amount, at = EXCLUDED.at");
    work.commit();
  }
  const double seconds = seconds_since(begun);
  table.check(options.rows);
  return static_cast<double>(options.rows) / seconds;
}

// The medians of both sides, each run with an empty table.
std::pair<double, double> in_turn(const Options& options, const char* word, bool with_key,
                                  const std::function<double(Table&)>& one,
                                  const std::function<double(Table&)>& other) {
  std::vector<double> ones, others;
  for (int i = 0; i < options.repeats; ++i) {
    for (const bool first : {true, false}) {
      Table table(options.conninfo, word, with_key);
      (first ? ones : others).push_back((first ? one : other)(table));
    }
    std::fprintf(stderr, "%s run %d: %.0f and %.0f rows/s\n", word, i + 1, ones.back(), others.back());
  }
  return {median(ones), median(others)};
}

const char* verdict(bool holds) { return holds ? "ok" : "over"; }

void measure_insert(const Options& options) {
  const auto side = [&](Guarantee guarantee) {
    return [&options, guarantee](Table& table) {
      return run_job(options, table, false, guarantee, kShortInterval);
    };
  };
  const auto [exactly, at_least] = in_turn(options, "insert", false, side(Guarantee::kExactlyOnce),
                                           side(Guarantee::kAtLeastOnce));
  std::printf("job=exactly_once_insert rows=%" PRId64 " interval_ms=100 rows_per_s=%.0f "
              "at_least_once_rows_per_s=%.0f ratio=%.2f limit=%.2f %s\n",
              options.rows, exactly, at_least, exactly / at_least, kThroughputLimit,
              verdict(exactly >= kThroughputLimit * at_least));
  std::fflush(stdout);
}

void measure_upsert(const Options& options, Duration interval) {
  const auto [job, bare] = in_turn(
      options, "upsert", true,
      [&](Table& table) { return run_job(options, table, true, Guarantee::kExactlyOnce, interval); },
      [&](Table& table) { return run_bare_upsert(options, table); });
  std::printf("job=exactly_once_upsert rows=%" PRId64 " interval_ms=%lld rows_per_s=%.0f bare_rows_per_s=%.0f "
              "ratio=%.2f limit=%.2f %s\n",
              options.rows, static_cast<long long>(interval / 1ms), job, bare, bare / job, kUpsertLimit,
              verdict(bare / job <= kUpsertLimit));
  std::fflush(stdout);
}

// Row n is due n / rate after the start; a reader asks each millisecond for the newest. Rows become visible
// in order.
void measure_visible(const Options& options) {
  Table table(options.conninfo, "visible", true);
  const std::chrono::duration<double> total = kWarmUp + options.measured;
  const auto rows = static_cast<std::int64_t>(options.rate * total.count());
  const levada::testing::TempDir folder;
  levada::StreamEnvironment env(
      {.checkpoint = {.interval = kShortInterval, .directory = folder.path()}});
  env.generate<Payment>([](std::uint64_t n, Payment& row) { row = make_payment(n, true); },
                        {.rows = static_cast<std::uint64_t>(rows), .rate = options.rate})
      .uid("payments")
      .sink_to(levada::postgres::insert<Payment>({.connection = options.conninfo,
                                                  .table = table.name(),
                                                  .marker_schema = table.markers()}))
      .uid("table");
  const auto due = [&, start = SteadyClock::now()](std::int64_t n) {
    return start + std::chrono::duration_cast<SteadyClock::duration>(
                       std::chrono::duration<double>(static_cast<double>(n) / options.rate));
  };
  levada::Job job = env.execute_async("bench");
  Delays delays;
  const auto first_measured = static_cast<std::int64_t>(
      options.rate * std::chrono::duration<double>(kWarmUp).count());
  const std::string newest = "SELECT coalesce(max(id), -1) FROM " + table.name();
  for (std::int64_t seen = 0; seen < rows;) {
    std::int64_t end = 0;
    {
      pqxx::nontransaction work(table.connection());
      end = work.exec1(newest)[0].as<std::int64_t>() + 1;
    }
    const auto now = SteadyClock::now();
    for (; seen < end; ++seen) {
      if (seen >= first_measured) delays.add(std::chrono::duration_cast<Duration>(now - due(seen)));
    }
    if (now > due(rows) + 60s) throw std::runtime_error("rows do not become visible");
    std::this_thread::sleep_for(1ms);
  }
  job.wait();
  table.check(rows);
  const auto ms = [](Duration delay) { return static_cast<double>(delay.count()) / 1000; };
  const double p99 = ms(delays.percentile(0.99));
  std::printf("job=exactly_once_visible rows=%" PRId64 " rows_per_s=%.0f interval_ms=100 p50_ms=%.0f p99_ms=%.0f "
              "p99.9_ms=%.0f max_ms=%.0f limit_ms=%.0f %s\n",
              rows, options.rate, ms(delays.percentile(0.5)), p99, ms(delays.percentile(0.999)),
              ms(delays.max()), kVisibleLimitMs, verdict(p99 <= kVisibleLimitMs));
  std::fflush(stdout);
}

Options parse(int argc, char** argv) {
  Options options;
  each_option(argc, argv, [&](const std::string& word, const std::string& value) {
    if (word == "--postgres") {
      options.conninfo = value;
    } else if (word == "--rows") {
      options.rows = std::stoll(value);
    } else if (word == "--repeats") {
      options.repeats = std::stoi(value);
    } else if (word == "--rate") {
      options.rate = std::stod(value);
    } else if (word == "--seconds") {
      options.measured = std::chrono::seconds{std::stoi(value)};
    } else {
      return false;
    }
    return true;
  });
  if (options.conninfo.empty()) throw std::runtime_error("--postgres is missing");
  if (options.rows < 1 || options.repeats < 1 || options.rate <= 0 || options.measured < 1s) {
    throw std::runtime_error("options want positive numbers");
  }
  return options;
}

void run(const Options& options) {
  measure_insert(options);
  measure_upsert(options, kOrdinaryInterval);
  measure_upsert(options, kShortInterval);
  measure_visible(options);
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  return bench::run_main("exactly_once_bench", [&] { bench::run(bench::parse(argc, argv)); });
}
