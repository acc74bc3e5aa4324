// A sink that folds all rows into one checksum.
#pragma once

#include <atomic>

#include "rows.h"

namespace bench {

/// Adds what one subtask's sink saw to the total when the job ends.
class ChecksumSink {
 public:
  struct Shared {
    std::atomic<std::uint64_t> rows{0};
    std::atomic<std::uint64_t> sum{0};
    Checksum checksum() const { return {rows, sum}; }
  };

  explicit ChecksumSink(Shared& shared) : shared_(&shared) {}
  ChecksumSink(const ChecksumSink& other) : shared_(other.shared_) {}
  ChecksumSink& operator=(const ChecksumSink&) = delete;
  ~ChecksumSink() {
    shared_->rows += seen_.rows;
    shared_->sum += seen_.sum;
  }

  void operator()(const Row& row) { seen_.add(row.key, static_cast<std::int64_t>(row.value), 1); }
  void operator()(const Total& row) { seen_.add(row.key, row.total, row.count); }
  void operator()(const TextTotal& row) { seen_.add(row.key, row.total, row.count); }

 private:
  Shared* shared_;
  Checksum seen_;
};

}  // namespace bench
