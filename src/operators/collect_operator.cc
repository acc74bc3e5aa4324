// Rows collected for the host. With checkpoints on, rows wait in their checkpoint's stage until it is
// complete; a restart publishes the stages up to the restored checkpoint and drops the others. So the
// host sees every row once, whatever failed in between.
#include <map>
#include <utility>
#include <vector>

#include "base/mutex.h"
#include "levada/connectors/values.h"
#include "levada/operator.h"

namespace levada::detail {

struct CollectedRows::Shared {
  Mutex mutex;
  std::vector<BatchPtr> published LEVADA_GUARDED_BY(mutex);
  std::map<CheckpointId, std::vector<BatchPtr>> staged LEVADA_GUARDED_BY(mutex);

  void publish(std::vector<BatchPtr>&& batches) LEVADA_REQUIRES(mutex) {
    for (BatchPtr& batch : batches) published.push_back(std::move(batch));
  }
  void publish_up_to(CheckpointId checkpoint) LEVADA_REQUIRES(mutex) {
    while (!staged.empty() && staged.begin()->first <= checkpoint) {
      publish(std::move(staged.begin()->second));
      staged.erase(staged.begin());
    }
  }
};

namespace {

class CollectOperator final : public Operator {
 public:
  CollectOperator(std::shared_ptr<CollectedRows> owner, CollectedRows::Shared& shared)
      : owner_(std::move(owner)), shared_(shared) {}

  void open(OperatorContext& context) override {
    checkpoints_ = context.checkpoints;
    MutexLock lock(shared_.mutex);
    shared_.publish_up_to(context.restored_checkpoint);
    std::erase_if(shared_.staged,
                  [&](const auto& stage) { return stage.first > context.restored_checkpoint; });
  }

  std::size_t process(std::size_t, BatchPtr& batch, std::size_t first_row, Output&) override {
    current_.push_back(batch->slice(first_row, batch->size() - first_row));
    return batch->size();
  }

  void snapshot(SnapshotContext& context) override {
    MutexLock lock(shared_.mutex);
    std::vector<BatchPtr>& stage = shared_.staged[context.checkpoint()];
    for (BatchPtr& batch : current_) stage.push_back(std::move(batch));
    current_.clear();
  }

  void committed(CheckpointId checkpoint) override {
    MutexLock lock(shared_.mutex);
    shared_.publish_up_to(checkpoint);
  }

  bool end_of_input(std::size_t, Output&) override {
    if (!checkpoints_) {
      MutexLock lock(shared_.mutex);
      shared_.publish(std::move(current_));
      current_.clear();
    }
    return true;
  }

 private:
  std::shared_ptr<CollectedRows> owner_;
  CollectedRows::Shared& shared_;
  std::vector<BatchPtr> current_;
  bool checkpoints_ = false;
};

}  // namespace

CollectedRows::CollectedRows() : shared_(std::make_unique<Shared>()) {}
CollectedRows::~CollectedRows() = default;

OperatorFactory CollectedRows::operator_factory(std::shared_ptr<CollectedRows> self) {
  return [self] { return std::make_unique<CollectOperator>(self, *self->shared_); };
}

void CollectedRows::for_each(const std::function<void(const Batch&)>& f) const {
  MutexLock lock(shared_->mutex);
  for (const BatchPtr& batch : shared_->published) f(*batch);
}

}  // namespace levada::detail
