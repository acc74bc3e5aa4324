// heartbeats ─ key_by host ─ Watchdog (state, timers) ─► alerts;  implausible ones ─► a side output
#include <cstdio>
#include <levada/levada.h>

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

long long seconds(Timestamp time) { return time.time_since_epoch() / 1s; }

int main() {
  levada::StreamEnvironment env({.batch_rows = 1});           // event time moves between batches: here with every row
  auto alerts =
      env.from_values<Heartbeat>({{"db", 0.3, Timestamp{0s}}, {"web", 0.9, Timestamp{5s}},
                                  {"db", 0.4, Timestamp{50s}}, {"web", -1, Timestamp{60s}},
                                  {"db", 0.2, Timestamp{100s}}, {"web", 0.8, Timestamp{130s}}},
                                 levada::event_time(&Heartbeat::at, {.bounded_out_of_orderness = 5s}))
          .key_by(&Heartbeat::host)
          .process<Alert>(Watchdog{.silence = 1min});
  alerts.for_each([](const Alert& alert) {
    std::printf("%llds %s: %s\n", seconds(alert.at), alert.host.c_str(), alert.text.c_str());
  });
  alerts.side_output(kImplausible).for_each([](const Heartbeat& beat) {
    std::printf("%llds %s: a load of %g\n", seconds(beat.at), beat.host.c_str(), beat.load);
  });
  env.execute("watchdog");
}
