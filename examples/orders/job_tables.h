// The tables that the job writes: created before it starts, read when it has ended. The job is named like
// the first, so that its markers go with them.
// A failure is a std::runtime_error with the server's message.
#pragma once

#include <string>

#include "compare.h"

namespace orders {

struct TableNames {
  std::string totals;
  std::string late;
  std::string log;  // empty: none
};

class JobTables {
 public:
  // Creates the tables; fails if one exists.
  JobTables(std::string conninfo, TableNames names);

  const TableNames& names() const { return names_; }
  Tables read() const;
  void drop() const;

 private:
  std::string conninfo_;
  TableNames names_;
};

}  // namespace orders
