#include "core/state_migration.h"

#include <algorithm>
#include <utility>

#include "levada/error.h"

#include "core/encoding_walk.h"
#include "core/schema.h"

namespace levada {
namespace {

using Shape = Schema::Shape;

// One step of a program: takes what was written off the front, appends what is wanted.
struct Step {
  enum class Op {
    kCopy,      // what `walk` steps over
    kDrop,      // the same, without copying
    kConstant,  // `bytes`, from nothing
    kWiden,     // an integer
    kEngage,    // a T becomes an optional<T>
    kOptional,
    kList,
    kRepeat,
    kSequence,
    kReorder,  // `walks` find the fields as they were written; the parts take them in the order of `sources`
  };
  Op op = Op::kSequence;
  EncodingWalk walk = {};
  Bytes bytes = {};
  std::size_t from_bytes = 0;
  std::size_t to_bytes = 0;
  bool is_signed = false;
  std::uint64_t count = 0;
  std::vector<Step> parts = {};
  std::vector<EncodingWalk> walks = {};
  std::vector<std::size_t> sources = {};  // kReorder, of each part; kNowhere: a constant
};

constexpr std::size_t kNowhere = SIZE_MAX;

void run(const Step& step, View& in, Bytes& out);

void widen(const Step& step, View& in, Bytes& out) {
  const std::string_view taken = in.take(step.from_bytes);
  const bool negative = step.is_signed && (taken.back() & 0x80) != 0;
  out.append(taken);
  out.append(step.to_bytes - step.from_bytes, negative ? '\xff' : '\0');
}

// Elements take at least one byte each: the plan sees to that.
void run_elements(const Step& step, std::uint64_t count, View& in, Bytes& out) {
  for (; count > 0; --count) run(step.parts.front(), in, out);
}

void reorder(const Step& step, View& in, Bytes& out) {
  std::vector<View> fields;
  fields.reserve(step.walks.size());
  for (const EncodingWalk& walk : step.walks) {
    const char* const begin = in.data();
    walk.skip(in);
    fields.emplace_back(begin, static_cast<std::size_t>(in.data() - begin));
  }
  View nothing;
  for (std::size_t i = 0; i < step.parts.size(); ++i) {
    const std::size_t source = step.sources[i];
    run(step.parts[i], source == kNowhere ? nothing : fields[source], out);
  }
}

void run(const Step& step, View& in, Bytes& out) {
  switch (step.op) {
    case Step::Op::kCopy: {
      const char* const begin = in.data();
      step.walk.skip(in);
      out.append(begin, static_cast<std::size_t>(in.data() - begin));
      return;
    }
    case Step::Op::kDrop:
      step.walk.skip(in);
      return;
    case Step::Op::kConstant:
      out += step.bytes;
      return;
    case Step::Op::kWiden:
      widen(step, in, out);
      return;
    case Step::Op::kEngage:
      put_number(out, std::uint8_t{1});
      run(step.parts.front(), in, out);
      return;
    case Step::Op::kOptional: {
      const bool engaged = in.take_number<std::uint8_t>() != 0;
      put_number(out, static_cast<std::uint8_t>(engaged));
      if (engaged) run(step.parts.front(), in, out);
      return;
    }
    case Step::Op::kList: {
      const std::uint64_t count = in.take_varint();
      // Before anything is made of it: each element takes a byte at least.
      if (count > in.size()) throw StateError("a list is longer than its bytes");
      put_varint(out, count);
      run_elements(step, count, in, out);
      return;
    }
    case Step::Op::kRepeat:
      run_elements(step, step.count, in, out);
      return;
    case Step::Op::kSequence:
      for (const Step& part : step.parts) run(part, in, out);
      return;
    case Step::Op::kReorder:
      reorder(step, in, out);
      return;
  }
}

class Program final : public Transcoder {
 public:
  explicit Program(Step step) : step_(std::move(step)) {}
  void transcode(View in, std::uint64_t entries, Bytes& out) const override {
    for (; entries > 0; --entries) run(step_, in, out);
    if (!in.empty()) throw StateError("there are more bytes than entries");
  }

 private:
  Step step_;
};

// ---- planning

bool is_signed(TypeKind number) { return number >= TypeKind::kInt8 && number <= TypeKind::kInt64; }
bool is_integer(TypeKind number) { return number >= TypeKind::kInt8 && number <= TypeKind::kUint64; }

// Why one number does not become another; empty when it does.
std::string_view number_problem(TypeKind from, TypeKind to) {
  if (!is_integer(from) || !is_integer(to)) return "is another kind of number";
  if (is_signed(from) && !is_signed(to)) return "loses the sign";
  if (size_of(to) < size_of(from)) return "narrows";
  if (is_signed(from) != is_signed(to) && size_of(to) == size_of(from)) return "narrows";
  return {};
}

std::string_view name_of(Shape shape) {
  switch (shape) {
    case Shape::kNumber: return "a number";
    case Shape::kString: return "a string";
    case Shape::kTimestamp: return "a timestamp";
    case Shape::kDuration: return "a duration";
    case Shape::kOptional: return "optional";
    case Shape::kList: return "a list";
    case Shape::kArray: return "an array";
    case Shape::kTuple: return "a tuple";
    case Shape::kRecord: return "a record";
    case Shape::kNamed:
    case Shape::kOpaque: break;
  }
  return "of a type with a Serde of its own";
}

const StateType* part_type(const StateType* type, std::size_t index) {
  return type != nullptr && index < type->parts.size() ? type->parts[index] : nullptr;
}

// Walks both trees together. Each method returns the step that makes one into the other; after a problem it is
// any step.
class Planner {
 public:
  Planner(StateMigration& into, OpaqueTypes known) : into_(into), known_(std::move(known)) {}

  Step plan(const Schema& written, const Schema& wanted, const StateType* type, const std::string& path) {
    if (written == wanted) return copy(written, path);
    const bool own = type != nullptr && type->skip != nullptr;
    if (!own && wanted.shape == Shape::kOptional && written.shape != Shape::kOptional) {
      note(path, written, wanted);
      return with_part({.op = Step::Op::kEngage},
                       plan(written, wanted.parts.front(), part_type(type, 0), path));
    }
    if (own || is_own(written) || is_own(wanted)) {
      return refuse(path, written, wanted, "is of a type with a Serde of its own, which must stay the same");
    }
    if (written.shape != wanted.shape) return refuse_shape(written, wanted, path);
    switch (wanted.shape) {
      case Shape::kNumber:
        return number(written, wanted, path);
      case Shape::kOptional:
        return with_part({.op = Step::Op::kOptional}, plan_part(written, wanted, type, path));
      case Shape::kList:
        return list(written, wanted, type, path);
      case Shape::kArray:
        if (written.length != wanted.length) return refuse(path, written, wanted, "has another length");
        return with_part({.op = Step::Op::kRepeat, .count = wanted.length},
                         list(written, wanted, type, path).parts.front());
      case Shape::kTuple:
        return tuple(written, wanted, type, path);
      case Shape::kRecord:
        return record(written, wanted, type, path);
      default:
        return refuse(path, written, wanted, "has another unit");
    }
  }

  Step copy(const Schema& schema, const std::string& path) {
    return walked(Step::Op::kCopy, schema, path, "cannot be copied");
  }

  void problem(const std::string& path, std::string_view what) {
    into_.problems.push_back(shown(path) + ": " + std::string(what));
  }

 private:
  static bool is_own(const Schema& schema) {
    return schema.shape == Shape::kNamed || schema.shape == Shape::kOpaque;
  }
  static std::string shown(const std::string& path) { return path.empty() ? "the value" : path; }
  static std::string field_path(const std::string& path, const std::string& field) {
    return path.empty() ? field : path + "." + field;
  }
  static Step with_part(Step step, Step part) {
    step.parts.push_back(std::move(part));
    return step;
  }
  static std::string both(const Schema& written, const Schema& wanted) {
    return to_text(written) + " -> " + to_text(wanted);
  }

  void change(const std::string& path, std::string_view what) {
    into_.changes.push_back(shown(path) + ": " + std::string(what));
  }
  void note(const std::string& path, const Schema& written, const Schema& wanted) {
    change(path, both(written, wanted));
  }
  Step refuse(const std::string& path, const Schema& written, const Schema& wanted, std::string_view why) {
    problem(path, both(written, wanted) + " " + std::string(why));
    return {};
  }
  Step refuse_shape(const Schema& written, const Schema& wanted, const std::string& path) {
    if (written.shape == Shape::kOptional) return refuse(path, written, wanted, "may have been empty");
    return refuse(path, written, wanted,
                  "was " + std::string(name_of(written.shape)) + " and is " + std::string(name_of(wanted.shape)));
  }

  // A step that only has to find the end of what was written.
  Step walked(Step::Op op, const Schema& schema, const std::string& path, std::string_view what) {
    std::string missing;
    auto walk = EncodingWalk::of(schema, known_, &missing);
    if (!walk) {
      problem(path, std::string(what) + ": only the Serde of '" + missing + "' knows where it ends");
      return {};
    }
    return {.op = op, .walk = std::move(*walk)};
  }

  Step number(const Schema& written, const Schema& wanted, const std::string& path) {
    const std::string_view why = number_problem(written.number, wanted.number);
    if (!why.empty()) return refuse(path, written, wanted, why);
    note(path, written, wanted);
    return {.op = Step::Op::kWiden,
            .from_bytes = size_of(written.number),
            .to_bytes = size_of(wanted.number),
            .is_signed = is_signed(written.number)};
  }

  Step plan_part(const Schema& written, const Schema& wanted, const StateType* type,
                 const std::string& path) {
    return plan(written.parts.front(), wanted.parts.front(), part_type(type, 0), path);
  }

  Step list(const Schema& written, const Schema& wanted, const StateType* type, const std::string& path) {
    // Of elements without bytes a few bytes could have any number, and each would get its defaults.
    const auto walk = EncodingWalk::of(written.parts.front(), known_);
    if (walk && walk->fixed_bytes() == std::uint64_t{0}) {
      problem(path, "a list of elements without fields cannot change");
    }
    return with_part({.op = Step::Op::kList}, plan_part(written, wanted, type, path + "[]"));
  }

  Step tuple(const Schema& written, const Schema& wanted, const StateType* type, const std::string& path) {
    if (written.parts.size() != wanted.parts.size()) {
      return refuse(path, written, wanted, "has another number of parts");
    }
    Step step{.op = Step::Op::kSequence};
    for (std::size_t i = 0; i < wanted.parts.size(); ++i) {
      step.parts.push_back(plan(written.parts[i], wanted.parts[i], part_type(type, i),
                                path + "<" + std::to_string(i) + ">"));
    }
    return step;
  }

  static std::size_t find(const Schema& record, const std::string& field) {
    const auto at = std::find(record.fields.begin(), record.fields.end(), field);
    return at == record.fields.end() ? kNowhere : static_cast<std::size_t>(at - record.fields.begin());
  }

  Step record(const Schema& written, const Schema& wanted, const StateType* type, const std::string& path) {
    Step step{.op = Step::Op::kReorder};
    for (std::size_t i = 0; i < wanted.parts.size(); ++i) {
      const std::string field = field_path(path, wanted.fields[i]);
      const std::size_t source = find(written, wanted.fields[i]);
      step.sources.push_back(source);
      step.parts.push_back(source == kNowhere
                               ? added(wanted, i, type, field)
                               : plan(written.parts[source], wanted.parts[i], part_type(type, i), field));
    }
    note_removed(written, wanted, path);
    return in_order(step) ? straight(std::move(step), written, path) : shuffled(std::move(step), written, path);
  }

  Step added(const Schema& wanted, std::size_t index, const StateType* type, const std::string& path) {
    change(path, "added");
    if (type == nullptr || !type->default_bytes) {
      problem(path, "is new, and nothing is known of what it begins with");
      return {};
    }
    // The field's piece of the encoding of a whole new record.
    View rest(*type->default_bytes);
    for (std::size_t i = 0; i < index; ++i) skip(wanted.parts[i], rest);
    const char* const begin = rest.data();
    skip(wanted.parts[index], rest);
    return {.op = Step::Op::kConstant, .bytes = {begin, static_cast<std::size_t>(rest.data() - begin)}};
  }

  // Over what the program itself has just written: its types are all known.
  void skip(const Schema& schema, View& in) {
    if (const auto walk = EncodingWalk::of(schema, known_)) walk->skip(in);
  }

  void note_removed(const Schema& written, const Schema& wanted, const std::string& path) {
    for (const std::string& field : written.fields) {
      if (find(wanted, field) == kNowhere) change(field_path(path, field), "removed");
    }
  }

  static bool in_order(const Step& step) {
    std::size_t next = 0;
    for (const std::size_t source : step.sources) {
      if (source == kNowhere) continue;
      if (source < next) return false;
      next = source + 1;
    }
    return true;
  }

  // The fields that stay are in the old order: one pass.
  Step straight(Step record, const Schema& written, const std::string& path) {
    Step step{.op = Step::Op::kSequence};
    std::size_t next = 0;
    const auto drop_until = [&](std::size_t end) {
      for (; next < end; ++next) {
        step.parts.push_back(walked(Step::Op::kDrop, written.parts[next],
                                    field_path(path, written.fields[next]), "cannot be left out"));
      }
    };
    for (std::size_t i = 0; i < record.parts.size(); ++i) {
      if (record.sources[i] != kNowhere) {
        drop_until(record.sources[i]);
        ++next;
      }
      step.parts.push_back(std::move(record.parts[i]));
    }
    drop_until(written.parts.size());
    return step;
  }

  Step shuffled(Step record, const Schema& written, const std::string& path) {
    change(path, "its fields are in another order");
    for (std::size_t i = 0; i < written.parts.size(); ++i) {
      record.walks.push_back(walked(Step::Op::kDrop, written.parts[i], field_path(path, written.fields[i]),
                                    "cannot be moved")
                                 .walk);
    }
    return record;
  }

  StateMigration& into_;
  OpaqueTypes known_;
};

}  // namespace

StateMigration plan_migration(std::string_view written, std::string_view wanted,
                              std::span<const StateType* const> types) {
  StateMigration migration;
  if (written == wanted) return migration;
  const std::vector<Schema> from = parse_table_schema(written);
  const std::vector<Schema> to = parse_table_schema(wanted);
  OpaqueTypes known;
  for (const StateType* type : types) add_opaque_types(*type, known);
  Planner planner(migration, std::move(known));
  if (from.size() != to.size()) {
    planner.problem("the state", "its parts are others");
    return migration;
  }
  Step step{.op = Step::Op::kSequence};
  for (std::size_t i = 0; i + 1 < from.size(); ++i) {
    if (from[i] != to[i]) {
      planner.problem("the key", to_text(from[i]) + " -> " + to_text(to[i]) +
                                     " would change its hash: a key must stay as it is");
    } else {
      step.parts.push_back(planner.copy(from[i], "the key"));
    }
  }
  const StateType* const type = types.size() == to.size() ? types.back() : nullptr;
  step.parts.push_back(planner.plan(from.back(), to.back(), type, {}));
  if (!migration.refused()) migration.transcoder = std::make_shared<Program>(std::move(step));
  return migration;
}

std::string refusal_of(const std::string& written, const std::string& wanted,
                       const std::vector<std::string>& problems) {
  std::string text = "it has schema " + written + ", but the program's is " + wanted + ": ";
  for (std::size_t i = 0; i < problems.size(); ++i) text += (i == 0 ? "" : ", ") + problems[i];
  return text;
}

}  // namespace levada
