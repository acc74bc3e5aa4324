// StateQueryCall: a question of another thread about a key's state, on its way through the mailbox of the task
// that owns the key. Destroyed without an answer it tells whoever waits that its task is gone.
//
// Threads:  made by the thread that asks, answered by the task's.
#pragma once

#include <cstdint>
#include <future>
#include <optional>
#include <string>

#include "levada/bytes.h"

namespace levada {

struct StateQueryCall {
  std::string state_id;  ///< of the node
  std::string state;
  std::int64_t name_space = 0;
  std::uint64_t hash = 0;
  Bytes key;
  std::promise<std::optional<Bytes>> answer;
};

}  // namespace levada
