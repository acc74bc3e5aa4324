# levada_warnings: linked privately by every target of this tree, never exported.
add_library(levada_warnings INTERFACE)
target_compile_options(levada_warnings INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor
                                                 -Woverloaded-virtual)
if(CMAKE_CXX_COMPILER_ID MATCHES Clang)
  # pedantic: __VA_OPT__ in C++20 is fine, designated initialisers may leave defaults out.
  target_compile_options(levada_warnings INTERFACE -Wthread-safety -Wno-missing-field-initializers)
else()
  # g++ 12 at -O3 is wrong about strings: maybe-uninitialized in nested designated initialisers, restrict
  # in operator+ (PR 105329).
  target_compile_options(levada_warnings INTERFACE -Wno-missing-field-initializers
                                                   -Wno-maybe-uninitialized -Wno-restrict)
endif()
if(LEVADA_DEVELOPER)
  target_compile_options(levada_warnings INTERFACE -Werror)
endif()
if(LEVADA_DEBUG_ASSERTS)
  add_compile_definitions(LEVADA_DEBUG_ASSERTS _GLIBCXX_ASSERTIONS)
endif()
