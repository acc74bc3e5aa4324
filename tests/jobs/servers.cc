#include "jobs/servers.h"

#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <stdexcept>

#include "kafka_client.h"
#include "unit/connectors_kafka/mock_kafka.h"

namespace levada::testing {

std::string required_env(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') {
    throw std::runtime_error(std::string(name) + " is not set: run this test by tests/run");
  }
  return value;
}

std::string brokers() { return required_env("LEVADA_TEST_BROKERS"); }
std::string postgres() { return required_env("LEVADA_TEST_POSTGRES"); }

Playground::Playground(int partitions) : partitions_(partitions) {
  static int count = 0;
  name_ = "playground_" + std::to_string(getpid()) + "_" + std::to_string(++count) + "_" +
          std::to_string(std::chrono::system_clock::now().time_since_epoch().count() % 1'000'000);
  orders::create_topic(brokers(), name_, partitions);
  sql("CREATE TABLE " + name_ + " (id bigint PRIMARY KEY, text text, ts timestamptz)");
}

Playground::~Playground() {
  try {
    sql("DROP TABLE IF EXISTS " + name_);
    sql("DROP SCHEMA IF EXISTS " + marker_schema() + " CASCADE");
    orders::delete_topic(brokers(), name_);
  } catch (const std::exception&) {
    // The server is gone with the test; nothing else uses the names.
  }
}

void Playground::produce(std::int64_t first, std::int64_t count) {
  KafkaProducer producer(brokers());
  for (std::int64_t i = first; i < first + count; ++i) {
    producer.produce({.topic = name_,
                      .partition = static_cast<std::int32_t>(i % partitions_),
                      .value = "{\"id\":" + std::to_string(i) + ",\"text\":\"item " +
                               std::to_string(i) + "\",\"ts\":" + std::to_string(1'700'000'000'000 + i) +
                               "}"});
  }
  producer.flush();
}

void Playground::produce_text(const std::string& value) {
  KafkaProducer producer(brokers());
  producer.produce({.topic = name_, .value = value});
  producer.flush();
}

void Playground::sql(const std::string& statement) const {
  pqxx::connection connection(postgres());
  pqxx::work work(connection);
  work.exec(statement);
  work.commit();
}

std::int64_t Playground::number(const std::string& query) const {
  pqxx::connection connection(postgres());
  pqxx::work work(connection);
  return work.exec(query)[0][0].as<std::int64_t>();
}

void control(const char* script, const std::string& arguments) {
  const std::string command = "'" + required_env(script) + "' " + arguments;
  if (std::system(command.c_str()) != 0) throw std::runtime_error(command + " failed");
}

}  // namespace levada::testing
