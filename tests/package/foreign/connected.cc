#include <levada/connectors/kafka.h>
#include <levada/connectors/postgres.h>
#include <levada/levada.h>

struct Row { std::int64_t id = 0; };
LEVADA_RECORD(Row, id)

// Both connectors are there: the source fails for want of a broker, and says so.
int main() {
  levada::StreamEnvironment env;
  env.from_source(levada::kafka::source<Row>({.brokers = "127.0.0.1:1", .topics = {"t"}}))
      .sink_to(levada::postgres::insert<Row>({.connection = "host=127.0.0.1 port=1",
                                              .table = "t",
                                              .guarantee = levada::Guarantee::kAtLeastOnce}));
  try {
    env.execute("connected");
  } catch (const levada::JobError& error) {
    return std::string_view(error.what()).find("127.0.0.1:1") == std::string_view::npos ? 1 : 0;
  }
  return 2;
}
