// The CPU time that a PostgreSQL server on this machine has used, all its processes together.
#pragma once

#include <string>

#include <sys/types.h>

namespace bench {

class PostgresCpu {
 public:
  // Throws std::runtime_error when the server's processes cannot be seen from here.
  explicit PostgresCpu(const std::string& conninfo);

  double seconds() const;

 private:
  pid_t server_ = 0;  // the process that all others of the server are children of
};

}  // namespace bench
