// The factory of the files sink, its encoder, and the writer of the weaker guarantees, which finishes a file
// when it is large or old enough and before every barrier.
#include "levada/connectors/files.h"

#include <memory>
#include <string>
#include <utility>

#include "base/file_system.h"
#include "base/percent_encoding.h"
#include "connectors/files_target.h"
#include "levada/error.h"

namespace levada::files {
namespace {

constexpr std::size_t kWriteBytes = 256 * 1024;

class LineEncoder final : public EpochEncoder {
 public:
  LineEncoder(const Format& format, const TypeInfo& row) : writer_(format.make_writer(row)) {}

  std::size_t encode(const Batch& batch, std::size_t first_row, std::size_t bytes_wanted,
                     EpochRecordBuffer& out) override {
    std::size_t row = first_row;
    try {
      for (; row < batch.size() && out.size_bytes() < bytes_wanted; ++row) {
        writer_->write(batch.row(row), out.begin(0));
        out.end();
      }
    } catch (...) {
      out.cancel();
      throw;
    }
    return row;
  }
  std::string schema() const override { return "lines"; }

 private:
  const std::unique_ptr<RecordWriter> writer_;
};

class LineWriter final : public SinkWriter {
 public:
  LineWriter(const SinkOptions& options, const TypeInfo& row)
      : options_(options), writer_(options.format.make_writer(row)), files_(local_file_system()) {}

  void open(OperatorContext& context) override {
    clock_ = context.clock;
    // Never the same for two runs, unless the clock was turned back between them: then create() fails.
    const auto begun = clock_->now().time_since_epoch().count();
    prefix_ = percent_encode(context.node) + "~" + std::to_string(context.subtask) + "~" +
              std::to_string(begun) + "-";
    try {
      files_.create_directories(options_.directory.value);
      files_.list(options_.directory.value);
    } catch (const StateError& error) {
      throw ConnectorError(error.what(), false);
    }
  }

  std::size_t write(const Batch& batch, std::size_t first_row) override {
    for (std::size_t row = first_row; row < batch.size(); ++row) {
      if (bytes_ == 0) oldest_ = clock_->steady_now();
      const std::size_t before = lines_.size();
      writer_->write(batch.row(row), lines_);
      lines_ += '\n';
      bytes_ += lines_.size() - before;
      if (lines_.size() >= kWriteBytes) put_lines();
      if (bytes_ >= options_.roll_bytes) finish();
    }
    return batch.size();
  }

  bool flush() override {
    finish();
    return true;
  }
  SteadyTime next_time() const override {
    return bytes_ == 0 ? kNever : oldest_ + options_.roll_interval;
  }
  void on_time(SteadyTime now) override {
    if (now >= next_time()) finish();
  }

 private:
  void put_lines() {
    const auto checked = [](auto operation) {
      try {
        operation();
      } catch (const StateError& error) {
        throw ConnectorError(error.what(), true);
      }
    };
    checked([&] {
      if (!file_) {
        name_ = prefix_ + std::to_string(finished_) + kSuffix;
        file_ = files_.create_readable(join_path(options_.directory.value, "." + name_ + ".tmp"));
      }
      file_->append(lines_);
    });
    lines_.clear();
  }

  void finish() {
    if (bytes_ == 0) return;
    if (!lines_.empty()) put_lines();
    const std::string& directory = options_.directory.value;
    try {
      file_->sync();
      file_->close();
      file_.reset();
      files_.rename(join_path(directory, "." + name_ + ".tmp"), join_path(directory, name_));
      files_.sync_directory(directory);
    } catch (const StateError& error) {
      throw ConnectorError(error.what(), true);
    }
    ++finished_;
    bytes_ = 0;
  }

  const SinkOptions options_;
  const std::unique_ptr<RecordWriter> writer_;
  FileSystem& files_;
  const Clock* clock_ = nullptr;
  std::string prefix_;
  std::string name_;  // of the file under way
  std::unique_ptr<WritableFile> file_;
  Bytes lines_;              // not written yet
  std::uint64_t bytes_ = 0;  // of the file under way, `lines_` included
  std::uint64_t finished_ = 0;
  SteadyTime oldest_{};
};

class FilesSink final : public SinkFactory {
 public:
  FilesSink(SinkOptions options, const TypeInfo& row) : options_(std::move(options)), row_(row) {
    static_cast<void>(options_.format.make_writer(row_));  // throws what the format cannot hold
  }

  std::unique_ptr<SinkWriter> make_writer() override {
    return std::make_unique<LineWriter>(options_, row_);
  }
  bool blocks() const override { return true; }
  Guarantee best_guarantee() const override { return Guarantee::kExactlyOnce; }
  const Guarantee* wanted_guarantee() const override {
    return options_.guarantee ? &*options_.guarantee : nullptr;
  }
  std::unique_ptr<EpochEncoder> make_encoder() override {
    return std::make_unique<LineEncoder>(options_.format, row_);
  }
  std::unique_ptr<EpochTarget> make_target(const EpochTargetContext& context) override {
    return files::make_target(options_.directory.value, context);
  }
  PublishPace pace() const override { return {options_.roll_bytes, options_.roll_interval}; }

 private:
  const SinkOptions options_;
  const TypeInfo& row_;
};

}  // namespace

std::shared_ptr<SinkFactory> detail::make_sink(SinkOptions options, const TypeInfo& row) {
  return std::make_shared<FilesSink>(std::move(options), row);
}

}  // namespace levada::files
