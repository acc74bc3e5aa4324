// What memory this process may use: the machine's, or less when its cgroup (v1 or v2) says so.
//
// Threads: from any thread.
#pragma once

#include <cstddef>
#include <string>

namespace levada {

/// The least of `physical_bytes` and the limits of the process's cgroup and those around it.
/// `root` stands before /proc and /sys; tests hand in a folder. What cannot be read is no limit.
std::size_t memory_limit_bytes(std::size_t physical_bytes, const std::string& root = "");

}  // namespace levada
