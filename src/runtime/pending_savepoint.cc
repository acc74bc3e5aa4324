#include "runtime/pending_savepoint.h"

#include <atomic>
#include <exception>
#include <utility>

#include "checkpoint/savepoint.h"

namespace levada {

// What the background jobs share; dies with the last of them.
struct PendingSavepoint::Making {
  std::unique_ptr<SavepointExport> savepoint;
  std::exception_ptr failure;
  std::function<void()> tell;
  std::atomic<bool> aborted{false};
  std::atomic<bool> done{false};

  // One step, and then the next: other state is written in between.
  static void submit_step(const std::shared_ptr<Making>& making, BackgroundQueue& background) {
    background.submit_limited([making, &background] { return step(making, background); });
  }

 private:
  static std::size_t step(const std::shared_ptr<Making>& making, BackgroundQueue& background) {
    if (making->aborted.load(std::memory_order_acquire)) {
      making->savepoint.reset();
      return 0;
    }
    std::size_t bytes = 0;
    try {
      bytes = making->savepoint->step();
      if (!making->savepoint->complete()) {
        submit_step(making, background);
        return bytes;
      }
    } catch (...) {
      making->failure = std::current_exception();
    }
    making->savepoint.reset();
    making->done.store(true, std::memory_order_release);
    making->tell();
    return bytes;
  }
};

PendingSavepoint::PendingSavepoint(CheckpointRequests::Ticket ticket, Manifest manifest,
                                   CheckpointStatus status, SteadyTime publish_by)
    : ticket_(std::move(ticket)),
      manifest_(std::move(manifest)),
      status_(std::move(status)),
      publish_by_(publish_by) {}

PendingSavepoint::~PendingSavepoint() {
  if (making_) making_->aborted.store(true, std::memory_order_release);
}

void PendingSavepoint::start(FileSystem& files, const std::string& state_path, ColdReading cold,
                             BackgroundQueue& background, std::function<void()> done) {
  auto making = std::make_shared<Making>();
  making->savepoint = std::make_unique<SavepointExport>(files, state_path, manifest_, ticket_->path,
                                                        std::move(cold));
  making->tell = std::move(done);
  Making::submit_step(making, background);
  making_ = std::move(making);
}

bool PendingSavepoint::done() const noexcept {
  return making_ != nullptr && making_->done.load(std::memory_order_acquire);
}

std::string PendingSavepoint::error() const {
  if (!making_->failure) return {};
  try {
    std::rethrow_exception(making_->failure);
  } catch (const std::exception& failure) {
    return failure.what();
  } catch (...) {
    return "an exception that is no std::exception";
  }
}

}  // namespace levada
