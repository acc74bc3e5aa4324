// CRC32C (Castagnoli): the checksum of every file of the library.
//
// Threads: pure functions. The processor's own instruction is used where it has one.
#pragma once

#include <cstdint>
#include <string_view>

namespace levada {

/// The checksum of `bytes`; `before` is that of what came before them, so parts can be added up.
std::uint32_t crc32c(std::string_view bytes, std::uint32_t before = 0) noexcept;

/// The same by table, on every machine.
std::uint32_t crc32c_portable(std::string_view bytes, std::uint32_t before = 0) noexcept;

}  // namespace levada
