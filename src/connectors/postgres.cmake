# levada_postgres: the PostgreSQL sinks, on libpqxx.
find_package(Pqxx REQUIRED)

set(postgres ${CMAKE_CURRENT_LIST_DIR})
add_library(levada_postgres
  ${postgres}/postgres_call_guard.cc
  ${postgres}/postgres_connection.cc
  ${postgres}/postgres_conninfo.cc
  ${postgres}/postgres_encoding.cc
  ${postgres}/postgres_epochs.cc
  ${postgres}/postgres_lines.cc
  ${postgres}/postgres_marker.cc
  ${postgres}/postgres_rows.cc
  ${postgres}/postgres_sink.cc
  ${postgres}/postgres_statements.cc
  ${postgres}/postgres_table.cc
  ${postgres}/postgres_types.cc
)
add_library(levada::postgres ALIAS levada_postgres)
set_target_properties(levada_postgres PROPERTIES EXPORT_NAME postgres)
target_include_directories(levada_postgres PRIVATE ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(levada_postgres
  PUBLIC levada
  PRIVATE $<BUILD_INTERFACE:levada_warnings> Pqxx::pqxx)
