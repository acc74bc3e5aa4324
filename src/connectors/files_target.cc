// The format of a marker's file: "levada marker 2 <epoch> <incarnation> <owner> <rows> <announced epoch, or 0>
// <its rows> <CRC32C of the text before, decimal>\n", all on one line.
#include "connectors/files_target.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <utility>

#include "base/crc32c.h"
#include "base/fail_point.h"
#include "base/file_system.h"
#include "base/percent_encoding.h"
#include "levada/error.h"

namespace levada::files {
namespace {

constexpr std::string_view kHead = "levada marker 2 ";
constexpr std::size_t kWriteBytes = 256 * 1024;
constexpr std::size_t kDigits = 20;
constexpr std::size_t kNumbers = 6;

struct MarkerFile {
  EpochMarker marker;
  std::uint64_t rows = 0;
  CheckpointId announced = 0;  // it is published when its hidden file is gone; 0: none
  std::uint64_t announced_rows = 0;
};

std::string encode(const MarkerFile& file) {
  std::string text(kHead);
  for (const std::uint64_t number :
       {file.marker.epoch, file.marker.owner.incarnation, file.marker.owner.owner, file.rows, file.announced,
        file.announced_rows}) {
    text += std::to_string(number) + " ";
  }
  const std::uint32_t crc = crc32c(text);
  return text + std::to_string(crc) + "\n";
}

std::optional<std::uint64_t> parse_number(std::string_view digits) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return number;
}

std::optional<MarkerFile> decode(std::string_view text) {
  if (!text.starts_with(kHead)) return std::nullopt;
  std::string_view rest = text.substr(kHead.size());
  std::uint64_t numbers[kNumbers] = {};
  for (std::uint64_t& number : numbers) {
    const std::size_t space = rest.find(' ');
    const auto parsed = parse_number(rest.substr(0, space));
    if (space == rest.npos || !parsed) return std::nullopt;
    number = *parsed;
    rest.remove_prefix(space + 1);
  }
  const MarkerFile file{{numbers[0], {numbers[1], numbers[2]}}, numbers[3], numbers[4], numbers[5]};
  if (encode(file) != text) return std::nullopt;
  return file;
}

TargetAnswer answer_of(TargetStatus status, std::string reason) {
  return {.status = status, .reason = std::move(reason), .marker = {}, .created = false};
}

class FileTarget final : public EpochTarget {
 public:
  FileTarget(std::string directory, const EpochTargetContext& context)
      : files_(*context.files),
        directory_(std::move(directory)),
        marker_directory_(join_path(join_path(directory_, ".levada"), percent_encode(context.job))),
        marker_path_(join_path(marker_directory_, percent_encode(context.sink) + "-" +
                                                      std::to_string(context.shard))),
        prefix_(percent_encode(context.job) + "~" + percent_encode(context.sink) + "~" +
                std::to_string(context.shard) + "~") {}

  std::string name() const override { return "directory '" + directory_ + "'"; }
  std::string schema() const override { return "lines"; }

  TargetAnswer fence(const FenceRequest& request) override {
    try {
      return claim(request);
    } catch (const StateError& error) {
      // At the start it is the directory that will not do.
      if (!ready_) throw ConnectorError(error.what(), false);
      return answer_of(TargetStatus::kUnavailable, error.what());
    }
  }

  TargetAnswer publish(const PublishRequest& request) override {
    bool announced = false;
    std::optional<MarkerFile> found;
    try {
      found = read_marker();
    } catch (const StateError& error) {
      return answer_of(TargetStatus::kUnavailable, error.what());
    }
    if (!found) return answer_of(TargetStatus::kMissing, "there is no marker");
    TargetAnswer answer = answer_of(TargetStatus::kDone, {});
    answer.marker = found->marker;
    if (!lock_ || found->marker.owner != request.self) {
      answer.status = TargetStatus::kFenced;
    } else if (found->marker.epoch >= request.epoch) {
      answer.status = TargetStatus::kAlreadyThere;
    } else if (found->marker.epoch != request.previous) {
      answer.status = TargetStatus::kGap;
    } else if (found->announced != 0) {
      answer.status = TargetStatus::kConflict;  // the next fence() takes it back
      answer.reason = "epoch " + std::to_string(found->announced) + " is announced and not published";
    }
    if (answer.status != TargetStatus::kDone) return answer;
    try {
      if (request.records->count() == 0) {
        announced = true;
        write_marker({.marker = {request.epoch, request.self}, .rows = found->rows});
      } else {
        const std::string hidden = hidden_path(request.epoch);
        write_lines(hidden, *request.records);
        announced = true;
        write_marker({.marker = found->marker,
                      .rows = found->rows,
                      .announced = request.epoch,
                      .announced_rows = request.records->count()});
        files_.rename(hidden, join_path(directory_, file_name(request.epoch)));
        LEVADA_FAILPOINT("files.part.renamed", kPublish);
        files_.sync_directory(directory_);
      }
    } catch (const DiskError& error) {
      return answer_of(TargetStatus::kUnavailable, error.what());
    } catch (const StateError& error) {
      if (!announced) throw;  // the records'
      return answer_of(TargetStatus::kUnknown, error.what());
    }
    answer.marker = {request.epoch, request.self};
    return answer;
  }

 private:
  // A file operation before the rename failed; the records' own errors are StateErrors too.
  class DiskError final : public std::runtime_error {
   public:
    using std::runtime_error::runtime_error;
  };

  TargetAnswer claim(const FenceRequest& request) {
    files_.create_directories(marker_directory_);
    const std::string lock_path = marker_path_ + ".lock";
    if (!lock_) lock_ = files_.try_lock(lock_path);
    if (!lock_) {
      return answer_of(TargetStatus::kLocked, "another instance publishes: it holds '" + lock_path + "'");
    }
    // What an earlier process renamed and could not sync any more.
    files_.sync_directory(directory_);
    std::optional<MarkerFile> found = read_marker();
    const bool created = !found;
    if (created && !request.may_create) return answer_of(TargetStatus::kMissing, "there is no marker");
    if (created) found = MarkerFile{{request.initial, request.self}, 0};
    const EpochOwner& old = found->marker.owner;
    if (old.incarnation > request.self.incarnation ||
        (old.incarnation == request.self.incarnation && old.owner != request.self.owner)) {
      TargetAnswer fenced = answer_of(TargetStatus::kFenced, "a later start of the job has taken it over");
      fenced.marker = found->marker;
      return fenced;
    }
    // The announcement, if it still stands, is taken back: its hidden file will be written anew.
    found = MarkerFile{.marker = {std::max(found->marker.epoch, newest_file()), request.self}, .rows = found->rows};
    write_marker(*found);
    remove_hidden_files();
    ready_ = true;
    TargetAnswer answer = answer_of(TargetStatus::kDone, {});
    answer.marker = found->marker;
    answer.created = created && found->marker.epoch == request.initial;
    return answer;
  }

  std::string file_name(CheckpointId epoch) const {
    const std::string digits = std::to_string(epoch);
    return prefix_ + std::string(kDigits - digits.size(), '0') + digits + kSuffix;
  }

  std::string hidden_path(CheckpointId epoch) const {
    return join_path(directory_, "." + file_name(epoch) + ".tmp");
  }

  // The epoch of the newest finished file; 0: there is none.
  CheckpointId newest_file() const {
    CheckpointId newest = 0;
    for (const std::string& name : files_.list(directory_)) {
      if (!name.starts_with(prefix_) || !name.ends_with(kSuffix)) continue;
      const auto epoch = parse_number(std::string_view(name).substr(prefix_.size(), kDigits));
      if (epoch && file_name(*epoch) == name) newest = std::max(newest, *epoch);
    }
    return newest;
  }

  // Of publishes that were cut short, which may be grouped otherwise when they come again. REQUIRES: none is announced.
  void remove_hidden_files() {
    for (const std::string& name : files_.list(directory_)) {
      if (!name.starts_with("." + prefix_) || !name.ends_with(".tmp")) continue;
      try {
        files_.remove(join_path(directory_, name));
      } catch (const StateError&) {
        // It is in nobody's way.
      }
    }
  }

  void write_lines(const std::string& path, EpochRecords& records) {
    std::unique_ptr<WritableFile> file;
    const auto disk = [](auto operation) {
      try {
        operation();
      } catch (const StateError& error) {
        throw DiskError(error.what());
      }
    };
    disk([&] {
      if (files_.exists(path)) files_.remove(path);
      file = files_.create_readable(path);
    });
    Bytes lines;
    EpochRecord record;
    bool more = true;
    while (more) {
      more = records.next(record);
      if (more) lines.append(record.body) += '\n';
      if (more && lines.size() < kWriteBytes) continue;
      disk([&] { file->append(lines); });
      lines.clear();
      LEVADA_FAILPOINT("files.part.written", kPublish);
    }
    disk([&] {
      file->sync();
      file->close();
      files_.sync_directory(directory_);
    });
    LEVADA_FAILPOINT("files.part.synced", kPublish);
  }

  // What the marker's file says, with what it announces where that is published.
  std::optional<MarkerFile> read_marker() const {
    if (!files_.exists(marker_path_)) return std::nullopt;
    auto marker = decode(files_.read_file(marker_path_, 4096));
    if (!marker) {
      throw ConnectorError("the marker '" + marker_path_ + "' is damaged; bring it back, or remove it if "
                           "the job had ended well", false);
    }
    if (marker->announced != 0 && !files_.exists(hidden_path(marker->announced))) {
      marker->marker.epoch = std::exchange(marker->announced, 0);
      marker->rows += std::exchange(marker->announced_rows, 0);
    }
    return marker;
  }

  void write_marker(const MarkerFile& marker) {
    const std::string temporary = marker_path_ + ".tmp";
    if (files_.exists(temporary)) files_.remove(temporary);
    const auto file = files_.create(temporary);
    file->append(encode(marker));
    file->sync();
    file->close();
    LEVADA_FAILPOINT("files.marker.written", kPublish);
    files_.rename(temporary, marker_path_);
    LEVADA_FAILPOINT("files.marker.renamed", kPublish);
    files_.sync_directory(marker_directory_);
  }

  FileSystem& files_;
  const std::string directory_;
  const std::string marker_directory_;
  const std::string marker_path_;
  const std::string prefix_;  // of the names of finished files
  std::unique_ptr<FileLock> lock_;
  bool ready_ = false;  // it was fenced once
};

}  // namespace

std::unique_ptr<EpochTarget> make_target(std::string directory, const EpochTargetContext& context) {
  return std::make_unique<FileTarget>(std::move(directory), context);
}

}  // namespace levada::files
