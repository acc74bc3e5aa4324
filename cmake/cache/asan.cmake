# clang 16 sees to its own warnings in this flavour: of the two compilers, it takes half the time for ASan and
# UBSan.
set(CMAKE_C_COMPILER clang-16 CACHE STRING "")
set(CMAKE_CXX_COMPILER clang++-16 CACHE STRING "")
set(CMAKE_BUILD_TYPE RelWithDebInfo CACHE STRING "")
set(CMAKE_CXX_FLAGS_RELWITHDEBINFO "-O1 -g1" CACHE STRING "")
set(LEVADA_SANITIZE "address,undefined" CACHE STRING "")
set(LEVADA_FAILPOINTS ON CACHE BOOL "")
set(LEVADA_DEBUG_ASSERTS ON CACHE BOOL "")
set(LEVADA_DEVELOPER ON CACHE BOOL "")
