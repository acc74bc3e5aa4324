// The PostgreSQL sinks: rows into a table, the fields of a described struct into the columns of the same
// names; or rows out of it, by key. On libpqxx; no header of it is needed here.
//
// Exactly once, the default with checkpoints on: rows are logged, and the epoch between two checkpoints
// is written in one transaction that also moves a marker, a row of levada.sink_epoch in the same database.
// The schema and its table are made when they are missing. A reader sees whole epochs.
// At least once: rows are sent in batches, one transaction each, and everything written is committed
// before a checkpoint completes.
//
// Threads:  build the sink anywhere. Exactly once: each shard has a thread and a connection; at least
//           once: each subtask.
// Failures: at the start an unreachable server, a wrong password, a missing table or column, or a
//           column that does not fit its field is a ConnectorError within 10 s. Once running, a server
//           that goes away is waited for, with back-off and a status that says so; rows that the
//           table refuses (a violated constraint) are a ConnectorError naming table and SQLSTATE. Of
//           the connection string nothing but host, port, user and database is ever shown.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "levada/batch.h"
#include "levada/detail/key.h"
#include "levada/required.h"
#include "levada/sink.h"
#include "levada/time.h"
#include "levada/type_info.h"

namespace levada::postgres {

namespace detail {

/// The place of a member in its struct, in bytes.
template <class T, class M>
std::size_t offset_of(M T::*member) {
  const T sample{};
  return static_cast<std::size_t>(reinterpret_cast<const char*>(&(sample.*member)) -
                                  reinterpret_cast<const char*>(&sample));
}

}  // namespace detail

/// Fields of T: `{&T::a, &T::b}`. There is no empty list, so an option of this type must be given.
template <class T>
class Fields {
 public:
  Fields() = delete;  // the option is required
  template <class... C, class... M>
    requires(sizeof...(M) > 0)
  Fields(M C::*... members) {  // NOLINT: reads as the list itself
    static_assert((std::is_same_v<C, T> && ...), "a key field must be a field of the sink's own row");
    if constexpr ((std::is_same_v<C, T> && ...)) {
      offsets_ = {detail::offset_of<T>(members)...};
      hasher_ = levada::detail::make_key_selector<T>(members...);
    }
  }
  const std::vector<std::size_t>& offsets() const noexcept { return offsets_; }
  /// Brings rows with equal fields together.
  const std::shared_ptr<const levada::detail::KeyHasher>& hasher() const noexcept { return hasher_; }

 private:
  std::vector<std::size_t> offsets_;
  std::shared_ptr<const levada::detail::KeyHasher> hasher_;
};

/// A field whose column has another name: `{&T::a, "A"}`.
template <class T>
class Column {
 public:
  template <class C, class M>
  Column(M C::*member, std::string name) : name_(std::move(name)) {
    static_assert(std::is_same_v<C, T>, "a column must be a field of the sink's own row");
    if constexpr (std::is_same_v<C, T>) offset_ = detail::offset_of<T>(member);
  }
  std::size_t offset() const noexcept { return offset_; }
  const std::string& name() const noexcept { return name_; }

 private:
  std::size_t offset_ = 0;
  std::string name_;
};

/// Pauses between the attempts to reach a server that is away; each is twice the one before.
struct Backoff {
  Duration first = 100ms;
  Duration longest = 30s;
};

/// Options of insert<T>.
template <class T>
struct InsertOptions {
  /// What libpq takes: "host=db dbname=shop user=shop", a URI, or "service=shop".
  Required<Secret> connection;
  /// "table", found by the search path, or "schema.table". Taken literally, upper case and all.
  Required<std::string> table;
  /// Fields whose columns have other names than the fields.
  std::vector<Column<T>> columns{};
  std::optional<Guarantee> guarantee{};
  /// Rows are sent when so many have come,
  int batch_rows = 5000;
  /// when the oldest has waited so long, and before each checkpoint.
  Duration batch_interval = 1s;
  /// For opening a connection, over all hosts of the connection string.
  Duration connect_timeout = 5s;
  /// A call to the server that takes longer is given up, and its rows are sent again.
  Duration call_timeout = 30s;
  Backoff backoff{};
  /// The table's schema; `.table` is then the name alone and may contain dots.
  std::string schema{};
  /// Exactly once: the schema that has the table sink_epoch,
  std::string marker_schema = "levada";
  /// connections that publish side by side; fixed with the job's first checkpoint,
  int shards = 1;
  /// and how long publishing an epoch may take.
  Duration publish_timeout = 5min;
};

/// Options of upsert<T>: those of insert<T>, and the key.
template <class T>
struct UpsertOptions {
  Required<Secret> connection;
  Required<std::string> table;
  /// The columns that say which row is meant; the table has a primary key or a unique index on them.
  Fields<T> key;
  std::vector<Column<T>> columns{};
  std::optional<Guarantee> guarantee{};
  int batch_rows = 5000;
  Duration batch_interval = 1s;
  Duration connect_timeout = 5s;
  Duration call_timeout = 30s;
  Backoff backoff{};
  std::string schema{};
  std::string marker_schema = "levada";
  int shards = 1;
  Duration publish_timeout = 5min;
};

/// Options of remove<T>: those of upsert<T>; only the key's columns are used.
template <class T>
using RemoveOptions = UpsertOptions<T>;

/// What a row means.
enum class WriteMode { kInsert, kUpsert, kRemove };

namespace detail {

/// The options without T.
struct SinkSettings {
  Secret connection;
  std::string schema;
  std::string table;
  const TypeInfo* row;
  WriteMode mode;
  std::vector<std::size_t> key;                                  ///< offsets of fields
  std::shared_ptr<const levada::detail::KeyHasher> hasher;       ///< of the key; null: insert
  std::vector<std::pair<std::size_t, std::string>> column_names; ///< by offset of the field
  std::optional<Guarantee> guarantee;
  int batch_rows;
  Duration batch_interval;
  Duration connect_timeout;
  Duration call_timeout;
  Backoff backoff;
  std::string marker_schema;
  int shards;
  Duration publish_timeout;
};

std::shared_ptr<SinkFactory> make_sink(SinkSettings settings);

template <class T, class Options>
Sink<T> make_typed_sink(Options options, WriteMode mode, std::vector<std::size_t> key,
                        std::shared_ptr<const levada::detail::KeyHasher> hasher) {
  std::string name = "PostgreSQL " + options.table.value;
  SinkSettings settings{std::move(options.connection.value), std::move(options.schema),
                        std::move(options.table.value), &type_info<T>(), mode, std::move(key),
                        std::move(hasher), {}, options.guarantee, options.batch_rows,
                        options.batch_interval, options.connect_timeout, options.call_timeout,
                        options.backoff, std::move(options.marker_schema), options.shards,
                        options.publish_timeout};
  for (const Column<T>& column : options.columns) {
    settings.column_names.emplace_back(column.offset(), column.name());
  }
  return {make_sink(std::move(settings)), std::move(name)};
}

}  // namespace detail

/// A sink that adds every row to a table.
///
/// Column types: bool; integers into any integer or numeric column that holds all their values; float
/// and double into real, double precision and numeric (rounded to its scale); std::string into text,
/// varchar, char, citext, uuid, json, jsonb, enums, and bytea (its bytes); Timestamp into timestamptz and
/// timestamp (UTC), the least and the greatest as -infinity and infinity; Duration into interval;
/// std::optional as its value or NULL; std::vector of these into arrays.
///
/// Shape:   rows in; nothing out.
/// Order:   kept per subtask.
/// State:   none; rows not yet sent are flushed before each checkpoint.
/// Threads: call while building the graph.
/// Errors:  at the start and for refused rows ConnectorError; see the file comment.
/// Cost:    [measured on 2 cores, with the server's work] 1 µs a row of four columns at 1,000 rows a
///          batch, 0.7 µs at 5,000 (COPY). At least once: a row may be added twice after a crash, and
///          when the connection breaks in the middle of a commit.
/// Example: examples/orders_to_postgres.cc
template <Row T>
Sink<T> insert(InsertOptions<T> options) {
  return detail::make_typed_sink<T>(std::move(options), WriteMode::kInsert, {}, nullptr);
}

/// A sink that keeps one row a key in a table: adds it or overwrites the old one; the last write of a key
/// wins. Column types as with insert.
///
/// Rows are brought together by the key's fields, so that no two subtasks write the same key; where the
/// server holds two different values to be equal (citext, numbers beyond the column's scale), they may
/// overtake each other.
///
/// Shape:   rows in; nothing out.
/// Order:   kept per key.
/// State:   none; rows not yet sent are flushed before each checkpoint.
/// Threads: call while building the graph.
/// Errors:  as insert; at the start also ConnectorError when no primary key or unique index is on exactly
///          the key's columns.
/// Cost:    [measured on 2 cores, with the server's work] 3.5 µs a new row of four columns from 500 rows
///          a batch on. At least once: repeated writes change nothing.
/// Example: examples/orders_to_postgres.cc
template <Row T>
Sink<T> upsert(UpsertOptions<T> options) {
  std::vector<std::size_t> key = options.key.offsets();
  auto hasher = options.key.hasher();
  return detail::make_typed_sink<T>(std::move(options), WriteMode::kUpsert, std::move(key),
                                    std::move(hasher));
}

/// A sink that removes the row that has a row's key, if there is one.
///
/// Shape:   rows in; nothing out.
/// Order:   kept per key.
/// State:   none.
/// Threads: call while building the graph.
/// Errors:  as upsert.
/// Cost:    a lookup by key a row. To remove a row twice changes nothing: both guarantees end at the
///          same table.
template <Row T>
Sink<T> remove(RemoveOptions<T> options) {
  std::vector<std::size_t> key = options.key.offsets();
  auto hasher = options.key.hasher();
  return detail::make_typed_sink<T>(std::move(options), WriteMode::kRemove, std::move(key),
                                    std::move(hasher));
}

}  // namespace levada::postgres
