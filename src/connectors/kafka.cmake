# levada_kafka: the Kafka source, on librdkafka's C API.
find_package(RdKafka REQUIRED)

set(kafka ${CMAKE_CURRENT_LIST_DIR})
add_library(levada_kafka
  ${kafka}/kafka_client.cc
  ${kafka}/kafka_discovery.cc
  ${kafka}/kafka_reader.cc
  ${kafka}/kafka_source.cc
  ${kafka}/kafka_split.cc
)
add_library(levada::kafka ALIAS levada_kafka)
set_target_properties(levada_kafka PROPERTIES EXPORT_NAME kafka)
target_include_directories(levada_kafka PRIVATE ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(levada_kafka
  PUBLIC levada levada_formats
  PRIVATE $<BUILD_INTERFACE:levada_warnings> RdKafka::rdkafka)
