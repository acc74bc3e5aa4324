// JobDirectory: the checkpoints of one job on disk, and the lock against a second instance.
//
//   <directory>/<percent-encoded job>/
//     LOCK                     held by flock while the job runs
//     INCARNATION              how often the job was started
//     manifest-<20-digit id>   one per retained checkpoint; its rename is the only commit decision
//     state/state-<hash>-<length>, state/tmp-<id>-<chain>-<subtask>
//     log/<percent-encoded sink>/<subtask>/<20-digit epoch>.log, …/open-<20-digit incarnation>-…
//
// Invariants:
// 1. A manifest is given its name after every file it names, and it itself, are synced.
// 2. A checkpoint id (incarnation * 2^32 + n) is never used twice, also not after a crash.
// 3. A file is removed when no manifest of the directory and no checkpoint under way names it, as its own or
//    as an older one that it refers to, and after the removal of the manifests that did is synced. Nothing is
//    counted: every sweep reads the truth.
//    A segment of the epoch log that no manifest names may still come to be named if it was sealed for a
//    checkpoint newer than the newest manifest by this incarnation: it stays until then.
// 4. A manifest found damaged or set aside, or whose commit failed, does not count among the retained ones. One that
//    a start which has been overtaken names when a later one has begun goes with the next checkpoint of that.
//
// Threads:  begin_checkpoint, writers and abandon from any thread; the rest from one (the
// coordinator). Lifetime: borrows FileSystem and Log; outlives its writers. The lock ends with it.
// Failures: StateError naming path and reason; JobError{kAlreadyRunning} from open(), JobError{kFenced} from
//           commit().
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/file_system.h"
#include "base/log.h"
#include "base/mutex.h"
#include "checkpoint/manifest.h"
#include "checkpoint/state_file.h"

namespace levada {

class JobDirectory {
 public:
  JobDirectory(FileSystem& files, std::string_view directory, std::string job_name, Log& log);

  /// Creates what is missing, refuses a directory that others may write, takes the lock and raises
  /// the incarnation, above `after_incarnation`, too. Called once, before anything else.
  void open(std::uint64_t after_incarnation = 0);
  /// The first part of open(), for who has to read something that another instance may be changing.
  void take_lock();

  std::uint64_t incarnation() const noexcept { return incarnation_; }
  /// The job's own directory.
  const std::string& path() const noexcept { return path_; }
  const std::string& state_path() const noexcept { return state_path_; }
  std::string manifest_path(CheckpointId id) const;
  FileSystem& files() const noexcept { return files_; }
  /// Where the segments of a sink's subtask are.
  std::string log_directory(std::string_view sink, std::uint32_t subtask) const;
  /// How a segment is called while it is written; the caller appends what makes it unique.
  std::string open_segment_name() const;

  /// The newest checkpoint whose manifest decodes and whose state is all there, older files included, but for those
  /// set aside. Warns of each newer one that is damaged. Empty when there are no manifests at all; StateError when
  /// there are but none is good: a job never starts afresh over checkpoints that it cannot read. One of an earlier
  /// start that was not there at open() is none: who named it had been overtaken, and does not count it.
  std::optional<Manifest> newest_valid();
  /// The same of those that this start of the job has committed; empty when none of them is good.
  std::optional<Manifest> newest_valid_of_this_start();

  /// This start does not restore that checkpoint, whose output cannot be read, nor what earlier starts took after
  /// it. They stay until enough newer ones are retained.
  void set_aside(CheckpointId id) { set_aside_ = id; }

  /// The newest checkpoint whose manifest is there, readable or not, as newest_valid() looks for it; 0: there is none.
  CheckpointId newest_named() const;

  /// Whether the manifest is one of this directory's.
  bool has(const Manifest& manifest);
  /// The manifests that can be read and are older than `id`, oldest first.
  std::vector<Manifest> manifests_before(CheckpointId id);
  /// All manifests. StateError when one of them cannot be read.
  std::vector<Manifest> manifests();
  /// Throws JobError, kFenced, when a later start of the job has taken the directory: its lock was lost
  /// without our knowledge, as on a shared disk. From any thread.
  void require_owned();
  /// Returns when the manifests there are survive a power loss.
  void sync() { files_.sync_directory(path_); }

  /// Starts a checkpoint and gives its id. Its files are kept until commit() or abandon().
  CheckpointId begin_checkpoint();
  /// Makes the writer of one subtask's snapshot. `chain` and `subtask` only make its file's name
  /// unique. `disk`: StateFileWriter.
  std::unique_ptr<StateFileWriter> make_writer(CheckpointId id, std::uint32_t chain,
                                               std::uint32_t subtask,
                                               Compression compression = Compression::kNone,
                                               BackgroundQueue* disk = nullptr);
  /// Makes what takes the files of one subtask's cold tier into the checkpoint.
  std::shared_ptr<ColdFilesWriter> make_cold_writer(CheckpointId id, std::uint32_t chain,
                                                    std::uint32_t subtask,
                                                    std::shared_ptr<KnownColdFiles> known);
  /// Makes the checkpoint exist. When it throws, the checkpoint before is still the newest one,
  /// except that after a failed sync of the directory either may turn out to be.
  void commit(const Manifest& manifest);
  /// Ends a checkpoint that is not to be committed; a writer of it may still run and will throw.
  void abandon(CheckpointId id) noexcept;

  /// Keeps a committed checkpoint and its files, however many are retained, until let_go().
  ///
  /// Threads: of the coordinator.
  void hold(CheckpointId id) { held_.insert(id); }
  void let_go(CheckpointId id) { held_.erase(id); }

  struct Swept {
    std::vector<CheckpointId> left;  ///< manifests, readable or not; empty: the sweep failed before it removed any
    std::size_t retained = 0;  ///< what is left of complete checkpoints
    std::size_t manifests = 0;
    std::size_t state_files = 0;
    std::size_t segments = 0;
    std::size_t temporary_files = 0;
  };
  /// Removes all but the newest `retained` (at least 1) checkpoints and every file nobody needs.
  /// Trouble is logged, not thrown: what is left goes with the next sweep.
  Swept sweep(std::size_t retained) noexcept;

 private:
  struct Marked;

  void check_private(const std::string& directory);
  void raise_incarnation(std::uint64_t after);
  std::uint64_t read_incarnation();
  void write_synced(const std::string& path, std::string_view bytes);

  bool is_set_aside(CheckpointId id) const { return id >= set_aside_ && id >> 32 < incarnation_; }
  // Named when this start had begun, by an earlier one that had been overtaken.
  bool is_too_late(CheckpointId id) const { return id > found_ && id >> 32 < incarnation_; }
  Manifest read_manifest(CheckpointId id);
  std::optional<Manifest> first_valid(const std::vector<CheckpointId>& ids, std::string& first_problem);

  bool reserve(CheckpointId id, const std::string& name);
  std::vector<CheckpointId> ids_in_time() const;
  void remove_too_late() noexcept;
  void write_and_name(const Manifest& manifest);
  void remove_quietly(const std::string& path) noexcept;

  Marked mark(std::size_t retained);
  std::size_t remove_manifests(const Marked& marked);
  void remove_state_files(const std::vector<std::string>& names, const Marked& marked, Swept& swept);
  void remove_segments(const Marked& marked, Swept& swept);
  bool is_needless_segment(const std::string& name, const std::string& path,
                           const Marked& marked) const;
  bool remove_unless_under_way(const std::string& name);
  bool remove_temporary(const std::string& name, CheckpointId id);
  void remove_temporary_manifests(Swept& swept);

  FileSystem& files_;
  Log& log_;
  std::string job_name_;
  std::string path_;
  std::string state_path_;
  std::string log_path_;
  std::unique_ptr<FileLock> lock_;
  std::uint64_t incarnation_ = 0;
  std::set<CheckpointId> uncounted_;  // invariant 4
  CheckpointId set_aside_ = ~CheckpointId{0};  // the first of them
  CheckpointId found_ = 0;                     // the newest when this start had begun; 0: there was none
  std::set<CheckpointId> held_;

  Mutex mutex_;
  std::uint32_t begun_ LEVADA_GUARDED_BY(mutex_) = 0;
  CheckpointId newest_committed_ LEVADA_GUARDED_BY(mutex_) = 0;
  // The checkpoints under way and the names their files have got.
  std::map<CheckpointId, std::set<std::string>> under_way_ LEVADA_GUARDED_BY(mutex_);
};

}  // namespace levada
