// What the main functions of the benches have in common.
#pragma once

#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>

namespace bench {

/// Calls take(word, value) for each pair of words of the command line; false: there is no such option.
///
/// Errors: std::runtime_error naming the word.
template <class F>
void each_option(int argc, char** argv, F take) {
  for (int i = 1; i < argc; i += 2) {
    const std::string word = argv[i];
    if (i + 1 == argc) throw std::runtime_error(word + " needs a value, or is no option");
    if (!take(word, std::string(argv[i + 1]))) throw std::runtime_error("there is no option '" + word + "'");
  }
}

/// Runs a bench; returns the exit code: 1 after an exception, whose text goes to standard error.
template <class F>
int run_main(const char* name, F run) {
  try {
    run();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", name, error.what());
    return 1;
  }
}

}  // namespace bench
