// Fills the benchmark's topic, once, before anything is measured.
#pragma once

#include <cstdint>
#include <string>

namespace bench {

// Throws std::runtime_error unless every record was taken and each partition ends where it should.
void produce_records(const std::string& brokers, const std::string& topic, std::int64_t row_count);

}  // namespace bench
