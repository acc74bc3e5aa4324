// Building blocks of option structs: what must be given, what must not be shown.
#pragma once

#include <concepts>
#include <string>
#include <type_traits>
#include <utility>

namespace levada {

/// An option without a default: leaving it out of the designated initialisers does not compile.
template <class T>
struct Required {
  T value;

  Required() = delete;  // a required option is missing
  template <class U>
    requires std::is_convertible_v<U, T>
  Required(U&& given) : value(std::forward<U>(given)) {}  // NOLINT: reads as the value itself
  operator const T&() const noexcept { return value; }    // NOLINT
};

/// Text that never reaches a log, an exception, a status or a checkpoint.
class Secret {
 public:
  Secret() = default;
  Secret(const char* text) : text_(text) {}            // NOLINT
  Secret(std::string text) : text_(std::move(text)) {}  // NOLINT
  /// The text itself, for the one call that hands it to its server's library.
  const std::string& reveal() const noexcept { return text_; }
  bool empty() const noexcept { return text_.empty(); }

 private:
  std::string text_;
};

}  // namespace levada
