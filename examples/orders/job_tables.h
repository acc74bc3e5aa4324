// The tables that the job writes: created before it starts, read when it has ended. The job is named like
// the first, so that its markers go with them.
// A failure is a std::runtime_error with the server's message.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "compare.h"

namespace orders {

struct TableNames {
  std::string totals;
  std::string late;
  std::string log;  // empty: none
};

// What a sink's marker says.
struct Marker {
  std::int64_t epoch = 0;  // the last one published
  std::int64_t rows = 0;   // published in all
};

class JobTables {
 public:
  // Creates the tables; fails if one exists.
  JobTables(std::string conninfo, TableNames names);

  const TableNames& names() const { return names_; }
  Tables read() const;
  // By the sink's uid. Waits for transactions that still hold one.
  std::map<std::string, Marker> read_markers() const;
  // Of each sink the number of the start that publishes, as it is committed: waits for nobody.
  std::vector<std::int64_t> read_incarnations() const;
  void drop() const;

 private:
  std::string conninfo_;
  TableNames names_;
};

}  // namespace orders
