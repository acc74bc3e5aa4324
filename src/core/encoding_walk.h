// EncodingWalk: steps over encodings of one schema without decoding them: a schema made into a small program.
//
// Threads:  immutable; any thread.
// Failures: StateError where the bytes end early.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "levada/bytes.h"
#include "levada/state_type.h"

#include "core/schema.h"

namespace levada {

/// How to step over what is opaque, by the text of its schema.
using OpaqueTypes = std::map<std::string, void (*)(View&), std::less<>>;
/// Adds all types with a Serde of their own that `type` is made of.
void add_opaque_types(const StateType& type, OpaqueTypes& into);

class EncodingWalk {
 public:
  /// Empty when something opaque is in `schema` that `known` does not have; `missing` is then its name.
  static std::optional<EncodingWalk> of(const Schema& schema, const OpaqueTypes& known,
                                        std::string* missing = nullptr);

  /// Takes one encoding off the front.
  void skip(View& in) const;
  /// The bytes of every encoding when all have as many.
  std::optional<std::uint64_t> fixed_bytes() const {
    return op_ == Op::kFixed ? std::optional(count_) : std::nullopt;
  }

 private:
  enum class Op : std::uint8_t { kFixed, kString, kOptional, kList, kRepeat, kSequence, kOpaque };

  bool build(const Schema& schema, const OpaqueTypes& known, std::string* missing);
  void add_part(EncodingWalk part);
  void skip_elements(View& in, std::uint64_t count) const;

  Op op_ = Op::kSequence;
  std::uint64_t count_ = 0;  ///< kFixed: bytes; kRepeat: elements
  void (*opaque_)(View&) = nullptr;
  std::vector<EncodingWalk> parts_;
};

}  // namespace levada
