// EpochSinks: the exactly-once sinks of a job, from its first attempt to its end. It knows which segments
// have been sealed, puts them into the manifest, hands what a manifest has made exist to the publishers,
// and says when sinks must take no more rows.
//
// The way of an epoch: the sink's operator appends records to its subtask's segment; the barrier seals it
// (EpochSink::sealed); when all subtasks have answered, fill() puts every segment sealed since the last
// manifest into the next one, those of checkpoints that were given up included; the manifest's rename is
// the commit; committed() hands the epoch to the publishers of its shards; what they have published is
// recorded in a later manifest, and then the files go with the sweep.
//
// Invariants:
// 1. A manifest names, for each sink, every epoch that some shard had not published when it was written,
//    so a restore needs one manifest; older ones only when a target's marker went back.
// 2. Shard s publishes the segments of the subtasks i with i mod S = s, in the order of subtasks. S and
//    the generation never change once a manifest has them. A new generation, asked for at a start, first
//    moves the markers of those before past every checkpoint, so that none is taken to go on under them.
// 3. Publishers outlive attempts. A restart within the process restores the newest manifest, whose epochs
//    they were given when it was committed; one that was found although its commit had failed is given to
//    them then, after its directory is synced. They are never given an epoch twice, and nothing is
//    fenced anew: the incarnation is that of the process.
// 4. Segments that the tasks of an earlier attempt seal late are not taken.
//
// Threads:  constructor, recover(), restarted(), fill(), committed() and the like from the job's control;
//           EpochSink's functions as they say.
// Failures: JobError of the decisions of epoch_recovery.h; StateError of recover(), for a manifest that cannot be read
//           and may know of a generation that is to end.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/log.h"
#include "base/mutex.h"
#include "checkpoint/epoch_log.h"
#include "checkpoint/epoch_publisher.h"
#include "checkpoint/job_directory.h"
#include "checkpoint/restore.h"
#include "levada/job.h"
#include "levada/options.h"

namespace levada {

/// One exactly-once sink of the graph.
struct EpochSinkSpec {
  int node = -1;
  std::string uid;
  std::string name;
  SinkFactory* factory = nullptr;
};

/// What a sink's subtasks and its publishers share.
class EpochSink {
 public:
  /// `changed`: called when only another checkpoint makes room.
  EpochSink(EpochSinkSpec spec, JobDirectory& directory, const Clock& clock, MemoryShare& memory,
            EpochLogOptions limits, std::function<void()> changed);

  const EpochSinkSpec& spec() const noexcept { return spec_; }

  // ---- the operator's side; any thread
  /// False while so much waits to be published that no more rows should come. True all the same while a
  /// barrier is on its way to a subtask whose last one was that of `passed`.
  bool takes_rows(CheckpointId passed) const;
  /// Why takes_rows() is false.
  std::string waiting_for() const;
  std::unique_ptr<EpochLogWriter> make_log_writer(std::uint32_t subtask, std::string schema,
                                                  BackgroundQueue& background);

 private:
  friend class EpochSinks;
  struct Backlog {
    std::uint64_t bytes = 0;  // committed, not published
    SteadyTime since = kNever;
    std::string waiting_for;
  };

  Backlog backlog() const;
  bool is_full(const Backlog& backlog) const;
  void sealed(int attempt, const EpochSegment& segment);
  void failed(int attempt, const std::string& why);
  SinkState state_of(CheckpointId manifest) const;
  /// `handed_over`: the newest manifest whose epochs the publishers have.
  void committed(const SinkState& state, CheckpointId manifest, CheckpointId handed_over);
  void hand_over(const SinkEpoch& epoch);

  const EpochSinkSpec spec_;
  JobDirectory& directory_;
  const Clock& clock_;
  MemoryShare& memory_;
  const EpochLogOptions limits_;
  const std::function<void()> changed_;

  // Of the control; the first two are fixed by recover().
  std::uint64_t generation_ = 0;
  std::vector<std::unique_ptr<EpochPublisher>> publishers_;  // one per shard
  // What retained manifests name, and so can be published again when a marker goes back.
  std::vector<SinkEpoch> epochs_;
  bool waiting_ = false;  // the newest manifest names some that were not published then
  std::vector<CheckpointId> recorded_;  // per shard, published as the newest manifest says

  std::atomic<int> attempt_{0};
  std::atomic<CheckpointId> barrier_under_way_{0};
  std::atomic<std::uint64_t> open_bytes_{0};  // appended and in no manifest yet

  mutable Mutex mutex_;
  std::vector<EpochSegment> sealed_ LEVADA_GUARDED_BY(mutex_);  // and in no committed manifest yet
  std::string broken_ LEVADA_GUARDED_BY(mutex_);  // why segments of this attempt are missing
};

class EpochSinks {
 public:
  struct Parts {
    std::string job;
    std::uint64_t owner = 0;
    JobDirectory* directory = nullptr;
    EpochLogOptions limits;
    ExecuteOptions execute;
    const Clock* clock = nullptr;
    Log* log = nullptr;
    MemoryShare* memory = nullptr;
    std::function<void()> changed;  ///< wakes the job's control; any thread
  };
  EpochSinks(Parts parts, const std::vector<EpochSinkSpec>& sinks);
  ~EpochSinks();

  // ---- attempts
  /// Before the first attempt: makes the publishers, which then have to be stepped. `manifests` are those
  /// that can be read, the one to restore last; empty: a fresh start.
  void recover(const std::vector<Manifest>& manifests, RestoreOrigin origin);
  /// All shards are fenced, their markers understood and what waits read through: now it may be published.
  /// Throws what a publisher failed with.
  bool recovered();
  /// Why they are not, if it is that the log of what is not published cannot be read: nothing was published yet,
  /// and the checkpoint before may be restored instead.
  std::exception_ptr log_damage() const;
  /// Before every attempt after the first: `manifest` is the one it restores, if any.
  void restarted(const Manifest* manifest);
  std::vector<EpochPublisher*> publishers() const;
  /// Throws what a publisher failed with, as a JobError.
  void check() const;
  /// A publisher failed: no restart of the job within this process will help.
  bool failed() const;
  /// For the end of the job.
  void interrupt() noexcept;

  /// The sink of a node; null when the node is none of these.
  EpochSink* find(int node) const;

  // ---- checkpoints
  /// Adds what the sinks have to the manifest `manifest.id`, whose subtasks have all answered. Throws
  /// StateError when some of it could not be written.
  void fill(Manifest& manifest) const;
  /// Puts into the manifest what is published now. REQUIRES: all_published().
  void fill_published(Manifest& manifest) const;
  void committed(const Manifest& manifest);
  /// After a sweep: the manifests that are left. What none of them names is forgotten.
  void swept(const std::vector<CheckpointId>& left);
  /// 0: none is.
  void barrier_under_way(CheckpointId checkpoint);
  /// Whether another checkpoint would only make the log longer: a sink is full of what it has committed.
  bool holds_checkpoints() const;
  /// Whether only another checkpoint makes room: a sink is full of what it has not committed.
  bool wants_checkpoint() const;
  /// Everything committed is published.
  bool all_published() const;
  /// What is committed is published without waiting for more.
  void hurry();
  /// The newest manifest does not say yet what has been published since.
  bool unrecorded() const;

  void add_status(JobStatus& status) const;

 private:
  void recover_sink(EpochSink& sink, const std::vector<Manifest>& manifests, RestoreOrigin origin);
  void refuse_other_sinks(const Manifest& manifest) const;
  std::vector<Manifest> manifests_since_handed_over(const Manifest& manifest) const;
  std::unique_ptr<EpochTarget> make_target(const EpochSink& sink, std::uint64_t generation, int shard) const;
  std::vector<std::unique_ptr<EpochTarget>> make_predecessors(const EpochSink& sink,
                                                              const Manifest* restored,
                                                              std::size_t shards) const;
  EpochPublisher::Parts publisher_parts(const EpochSink& sink, int shard) const;
  std::vector<Manifest> all_manifests() const;
  std::vector<std::vector<CheckpointId>> recorded_by(const Manifest& manifest) const;
  template <class F>
  bool all_publishers(F f) const;

  Parts parts_;
  std::vector<std::unique_ptr<EpochSink>> sinks_;
  CheckpointId handed_over_ = 0;  // the newest manifest whose epochs the publishers have
  // The checkpoint of another place that this start began with, after which the first one of its own names
  // none as the one before; 0: it began with one of its own directory.
  CheckpointId begun_with_ = 0;
  // What manifests of the directory recorded as published, sink by sink, shard by shard.
  std::map<CheckpointId, std::vector<std::vector<CheckpointId>>> retained_;
  bool half_told_ = false;  // of a checkpoint
};

}  // namespace levada
