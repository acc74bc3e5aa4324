// payments (Kafka) ─ key_by card ─┬ Scorer (state with a time to live) ─► scores (PostgreSQL)
// rules (Kafka) ─ broadcast ──────┘
#include "levada/connectors/kafka.h"
#include "levada/connectors/postgres.h"
#include "levada/levada.h"
using namespace std::chrono_literals;
using levada::Timestamp;

struct Payment { std::string id, card, country; double amount = 0; };
LEVADA_RECORD(Payment, id, card, country, amount)
struct Rule { std::string country; double limit = 0; };
LEVADA_RECORD(Rule, country, limit)
struct Score { std::string id; bool suspicious = false; double spent_today = 0; };
LEVADA_RECORD(Score, id, suspicious, spent_today)

struct Scorer {
  levada::ValueState<double> spent{"spent", {.ttl = 24h}};
  levada::BroadcastState<std::string, Rule> rules{"rules"};

  void process(const Payment& payment, levada::KeyedContext<std::string, Score>& ctx) {
    const double total = spent.get() += payment.amount;                             // get() creates the value when absent
    const Rule* rule = rules.find(payment.country);
    ctx.emit({payment.id, rule && total > rule->limit, total});
  }
  void process_broadcast(const Rule& rule, levada::BroadcastContext<Score>& ctx) {
    rules.put(rule.country, rule, ctx);                                             // compiles with a BroadcastContext only
  }
};

int main() {
  levada::StreamEnvironment env({.parallelism = 2, .checkpoint = {.interval = 1s, .directory = "/var/lib/scores"}});
  auto rules = env.from_source(levada::kafka::source<Rule>({.brokers = "kafka:9092", .topics = {"rules"}})).uid("rules");
  env.from_source(levada::kafka::source<Payment>({.brokers = "kafka:9092", .topics = {"payments"}})).uid("payments")
      .key_by(&Payment::card)
      .connect(rules.broadcast())
      .process<Score>(Scorer{}).uid("scorer")
      .sink_to(levada::postgres::insert<Score>({.connection = "service=scores", .table = "scores"})).uid("to scores");
  env.execute("scores");
}
