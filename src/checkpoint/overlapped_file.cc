#include "checkpoint/overlapped_file.h"

#include <algorithm>
#include <new>
#include <utility>

#include "levada/detail/streamed_copy.h"

namespace levada {
namespace {

constexpr std::align_val_t kAlignment{FileSystem::kLargeAlignment};

}  // namespace

void OverlappedFile::Free::operator()(char* part) const noexcept { ::operator delete(part, kAlignment); }

OverlappedFile::OverlappedFile(std::unique_ptr<WritableFile> file, BackgroundQueue& queue)
    : file_(std::move(file)), queue_(queue) {
  parts_.reserve(kPartsMax);
  MutexLock lock(mutex_);
  free_.reserve(kPartsMax);
}

OverlappedFile::~OverlappedFile() { wait_for_all(); }

void OverlappedFile::append(std::string_view bytes) {
  while (!bytes.empty()) {
    if (filling_ == nullptr) filling_ = take_part();
    const std::size_t count = std::min(kPartBytes - used_, bytes.size());
    // Past the caches: the system's copy of the part before may be in those of a core that is far away.
    detail::streamed_copy(filling_ + used_, bytes.data(), count);
    used_ += count;
    bytes.remove_prefix(count);
    if (used_ == kPartBytes) send();
  }
}

void OverlappedFile::sync() {
  write_rest();
  file_->sync();
}

void OverlappedFile::close() {
  write_rest();
  file_->close();
}

char* OverlappedFile::take_part() {
  MutexLock lock(mutex_);
  while (free_.empty() && parts_.size() == kPartsMax) changed_.wait(mutex_);
  if (failure_) std::rethrow_exception(failure_);
  if (free_.empty()) {
    parts_.emplace_back(static_cast<char*>(::operator new(kPartBytes, kAlignment)));
    return parts_.back().get();
  }
  char* const part = free_.back();
  free_.pop_back();
  return part;
}

void OverlappedFile::send() {
  detail::end_streaming();
  {
    MutexLock lock(mutex_);
    ++on_the_way_;
  }
  try {
    queue_.submit([this, part = filling_] { write(part); });
  } catch (...) {
    MutexLock lock(mutex_);
    --on_the_way_;
    throw;
  }
  filling_ = nullptr;
  used_ = 0;
}

// On the queue. After a failure nothing more is written: what there is stays a beginning. The exception is handed over,
// and not looked at again: whoever appends may be done with it at any time.
void OverlappedFile::write(char* part) noexcept {
  std::exception_ptr failure;
  if (!failed()) {
    try {
      file_->append({part, kPartBytes});
    } catch (...) {
      failure = std::current_exception();
    }
  }
  MutexLock lock(mutex_);
  if (failure) failure_ = std::move(failure);
  free_.push_back(part);
  --on_the_way_;
  changed_.notify_one();
}

bool OverlappedFile::failed() {
  MutexLock lock(mutex_);
  return failure_ != nullptr;
}

void OverlappedFile::write_rest() {
  wait_for_all();
  {
    MutexLock lock(mutex_);
    if (failure_) std::rethrow_exception(failure_);
  }
  if (used_ > 0) file_->append({filling_, std::exchange(used_, 0)});
}

void OverlappedFile::wait_for_all() {
  MutexLock lock(mutex_);
  while (on_the_way_ > 0) changed_.wait(mutex_);
}

}  // namespace levada
