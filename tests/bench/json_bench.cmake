# json_bench: the JSON parser beside a bare loop over simdjson; run by hand.
find_package(benchmark QUIET)
find_package(simdjson QUIET)
if(benchmark_FOUND AND TARGET levada_formats)
  add_executable(json_bench ${CMAKE_CURRENT_LIST_DIR}/json_bench.cc)
  target_link_libraries(json_bench PRIVATE levada_formats levada_warnings simdjson::simdjson
                                           benchmark::benchmark)
endif()
