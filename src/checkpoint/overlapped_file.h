// OverlappedFile: a file that another thread writes while this one makes what comes next: encoding and hashing a
// checkpoint takes about as long as the disk does.
//
// Threads:    one at a time; the queue's jobs use the file below only between append() and the next sync() or close().
// Lifetime:   borrows the queue, which outlives all appends. The destructor waits for what is on its way.
// Invariants: at most kPartsMax parts are in memory.
// Failures:   those of the file below, from a later append() or from sync() or close(), which are the first to know.
#pragma once

#include <cstddef>
#include <exception>
#include <memory>
#include <string_view>
#include <vector>

#include "base/file_system.h"
#include "base/mutex.h"
#include "checkpoint/background.h"

namespace levada {

class OverlappedFile final : public WritableFile {
 public:
  /// Whole parts are appended to the file below, as create_large() wants them.
  static constexpr std::size_t kPartBytes = FileSystem::kLargeBytes;
  static constexpr std::size_t kPartsMax = 4;

  OverlappedFile(std::unique_ptr<WritableFile> file, BackgroundQueue& queue);
  ~OverlappedFile() override;
  OverlappedFile(const OverlappedFile&) = delete;
  OverlappedFile& operator=(const OverlappedFile&) = delete;

  void append(std::string_view bytes) override;
  void sync() override;
  void close() override;

 private:
  struct Free {
    void operator()(char* part) const noexcept;
  };

  char* take_part();
  void send();
  void write(char* part) noexcept;
  bool failed();
  void write_rest();
  void wait_for_all();

  const std::unique_ptr<WritableFile> file_;
  BackgroundQueue& queue_;
  std::vector<std::unique_ptr<char, Free>> parts_;
  char* filling_ = nullptr;
  std::size_t used_ = 0;  // of that

  Mutex mutex_;
  CondVar changed_;
  std::vector<char*> free_ LEVADA_GUARDED_BY(mutex_);
  std::size_t on_the_way_ LEVADA_GUARDED_BY(mutex_) = 0;
  std::exception_ptr failure_ LEVADA_GUARDED_BY(mutex_);
};

}  // namespace levada
