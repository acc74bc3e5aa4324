// heartbeats (Kafka) ─ key_by host ─ Watchdog (state, timers) ─► alerts (PostgreSQL);  implausible ones ─► odd (PostgreSQL)
#include "levada/connectors/kafka.h"
#include "levada/connectors/postgres.h"
#include "levada/levada.h"
using namespace std::chrono_literals;
using levada::Timestamp;

struct Heartbeat { std::string host; double load = 0; Timestamp at; };
LEVADA_RECORD(Heartbeat, host, load, at)
struct Alert { std::string host, text; Timestamp at; };
LEVADA_RECORD(Alert, host, text, at)

inline constexpr levada::OutputTag<Heartbeat> kImplausible{"implausible"};

struct Watchdog {                                             // one copy per subtask, one state per key
  levada::Duration silence = 30s;
  levada::ValueState<Timestamp> deadline{"deadline"};

  void process(const Heartbeat& beat, levada::KeyedContext<std::string, Alert>& ctx) {
    if (beat.load < 0) return ctx.emit(kImplausible, beat);
    if (const Timestamp* old = deadline.find()) ctx.delete_timer(*old);
    deadline.set(beat.at + silence);
    ctx.set_timer(beat.at + silence);
  }
  void on_timer(Timestamp at, levada::KeyedContext<std::string, Alert>& ctx) {
    ctx.emit({ctx.key(), "no heartbeat", at});
    deadline.clear();
  }
};

int main() {
  const std::string pg = "service=alerts";
  levada::StreamEnvironment env({.checkpoint = {.interval = 1s, .directory = "/var/lib/watchdog"}});

  auto beats = env.from_source(levada::kafka::source<Heartbeat>({.brokers = "kafka:9092", .topics = {"heartbeats"}}),
                               levada::event_time(&Heartbeat::at, {.bounded_out_of_orderness = 5s, .idle_after = 1min}))
                   .uid("heartbeats");
  auto alerts = beats.key_by(&Heartbeat::host).process<Alert>(Watchdog{.silence = 1min}).uid("watchdog");

  alerts.sink_to(levada::postgres::insert<Alert>({.connection = pg, .table = "alerts"})).uid("to alerts");
  alerts.side_output(kImplausible).sink_to(levada::postgres::insert<Heartbeat>({.connection = pg, .table = "odd"})).uid("to odd");

  levada::Job job = env.execute_async("watchdog");
  job.wait();                                                 // throws JobError; a signal handler may call job.request_stop()
}
