if(TARGET levada_postgres)
  find_package(Pqxx REQUIRED)
  levada_test(postgres_sink_test
    postgres_columns_test.cc
    postgres_failure_test.cc
    postgres_fixture.cc
    postgres_open_test.cc
    postgres_write_test.cc
    LABELS integration LIBRARIES levada_postgres Pqxx::pqxx TIMEOUT 240)
  # Some of these tests stop the server.
  set_tests_properties(postgres_sink_test PROPERTIES RUN_SERIAL ON)
endif()
