// The real servers that tests/run starts, and a topic and tables of a test's own on them.
#pragma once

#include <pqxx/pqxx>

#include <string>
#include <vector>

#include "levada/levada.h"

namespace levada::testing {

/// The environment variable, or an exception: a test never skips because a server is missing.
std::string required_env(const char* name);

std::string brokers();
std::string postgres();

/// A row of the topic, and of the table.
struct Item {
  std::int64_t id = 0;
  std::string text;
  Timestamp ts;
  bool operator==(const Item&) const = default;
};
LEVADA_RECORD(Item, id, text, ts)

/// A topic and a table with names of their own.
class Playground {
 public:
  explicit Playground(int partitions = 1);
  ~Playground();
  Playground(const Playground&) = delete;
  Playground& operator=(const Playground&) = delete;

  const std::string& topic() const { return name_; }
  const std::string& table() const { return name_; }
  /// For the markers of exactly-once sinks: tests share the server and the names of jobs.
  std::string marker_schema() const { return name_ + "_markers"; }
  /// Stores JSON items first, …, first + count − 1 in the partitions in turn.
  void produce(std::int64_t first, std::int64_t count);
  void produce_text(const std::string& value);
  void sql(const std::string& statement) const;
  std::int64_t number(const std::string& query) const;

 private:
  int partitions_;
  std::string name_;
};

/// Runs `arguments` of a server's control script (environment variable `script`).
void control(const char* script, const std::string& arguments);

}  // namespace levada::testing
