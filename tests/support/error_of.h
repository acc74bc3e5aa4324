// error_of: the text of what is thrown.
#pragma once

#include <exception>
#include <string>

namespace levada::testing {

/// What the Error says that `f` throws; "no error" when it throws none.
template <class Error = std::exception, class F>
std::string error_of(F f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

}  // namespace levada::testing
