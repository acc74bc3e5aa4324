#include "core/encoding_walk.h"

#include <utility>

#include "levada/error.h"

namespace levada {
namespace {

// Elements that take no bytes are counted but not there: more than this is taken for damage.
constexpr std::uint64_t kEmptyElementsMax = 1 << 20;

bool product_fits(std::uint64_t a, std::uint64_t b) { return a == 0 || b <= UINT64_MAX / a; }

}  // namespace

void add_opaque_types(const StateType& type, OpaqueTypes& into) {
  if (type.skip != nullptr) into.emplace(type.schema, type.skip);
  for (const StateType* part : type.parts) add_opaque_types(*part, into);
}

std::optional<EncodingWalk> EncodingWalk::of(const Schema& schema, const OpaqueTypes& known,
                                             std::string* missing) {
  EncodingWalk walk;
  if (!walk.build(schema, known, missing)) return std::nullopt;
  return walk;
}

bool EncodingWalk::build(const Schema& schema, const OpaqueTypes& known, std::string* missing) {
  using Shape = Schema::Shape;
  const auto part = [&](const Schema& of_part) -> EncodingWalk* {
    return parts_.emplace_back().build(of_part, known, missing) ? &parts_.back() : nullptr;
  };
  switch (schema.shape) {
    case Shape::kNumber:
    case Shape::kDuration:
      op_ = Op::kFixed;
      count_ = size_of(schema.number);
      return true;
    case Shape::kTimestamp:
      op_ = Op::kFixed;
      count_ = 8;
      return true;
    case Shape::kString:
      op_ = Op::kString;
      return true;
    case Shape::kOptional:
      op_ = Op::kOptional;
      return part(schema.parts.front()) != nullptr;
    case Shape::kList:
      op_ = Op::kList;
      return part(schema.parts.front()) != nullptr;
    case Shape::kArray: {
      op_ = Op::kRepeat;
      count_ = schema.length;
      if (part(schema.parts.front()) == nullptr) return false;
      const auto bytes = count_ == 0 ? 0 : parts_.front().fixed_bytes();
      if (!bytes || !product_fits(*bytes, count_)) return true;
      op_ = Op::kFixed;
      count_ *= *bytes;
      parts_.clear();
      return true;
    }
    case Shape::kTuple:
    case Shape::kRecord:
      for (const Schema& of_part : schema.parts) {
        EncodingWalk walk;
        if (!walk.build(of_part, known, missing)) return false;
        add_part(std::move(walk));
      }
      if (parts_.empty()) op_ = Op::kFixed;
      if (parts_.size() == 1) *this = EncodingWalk(std::move(parts_.front()));
      return true;
    case Shape::kNamed:
      return build(schema.parts.front(), known, missing);
    case Shape::kOpaque:
      break;
  }
  const auto found = known.find(schema.name);
  if (found == known.end()) {
    if (missing != nullptr) *missing = schema.name;
    return false;
  }
  op_ = Op::kOpaque;
  opaque_ = found->second;
  return true;
}

// Runs of parts of fixed size are one step.
void EncodingWalk::add_part(EncodingWalk part) {
  if (!parts_.empty() && parts_.back().op_ == Op::kFixed && part.op_ == Op::kFixed &&
      part.count_ <= UINT64_MAX - parts_.back().count_) {
    parts_.back().count_ += part.count_;
  } else {
    parts_.push_back(std::move(part));
  }
}

void EncodingWalk::skip(View& in) const {
  switch (op_) {
    case Op::kFixed:
      in.take(count_);
      return;
    case Op::kString:
      in.take_string();
      return;
    case Op::kOptional:
      if (in.take_number<std::uint8_t>() != 0) parts_.front().skip(in);
      return;
    case Op::kList:
      skip_elements(in, in.take_varint());
      return;
    case Op::kRepeat:
      skip_elements(in, count_);
      return;
    case Op::kSequence:
      for (const EncodingWalk& part : parts_) part.skip(in);
      return;
    case Op::kOpaque:
      opaque_(in);
      return;
  }
}

void EncodingWalk::skip_elements(View& in, std::uint64_t count) const {
  const EncodingWalk& element = parts_.front();
  if (const auto bytes = element.fixed_bytes()) {
    if (!product_fits(*bytes, count)) throw StateError("a list is longer than any bytes");
    in.take(*bytes * count);
    return;
  }
  std::uint64_t empty = 0;
  for (; count > 0; --count) {
    const std::size_t left = in.size();
    element.skip(in);
    if (in.size() == left && ++empty > kEmptyElementsMax) throw StateError("a list has too many elements");
  }
}

}  // namespace levada
