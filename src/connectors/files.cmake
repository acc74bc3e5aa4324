# levada_files: rows as lines of files.
set(files ${CMAKE_CURRENT_LIST_DIR})
add_library(levada_files ${files}/files.cc ${files}/files_target.cc)
add_library(levada::files ALIAS levada_files)
set_target_properties(levada_files PROPERTIES EXPORT_NAME files)
target_include_directories(levada_files PRIVATE ${PROJECT_SOURCE_DIR}/src)
target_link_libraries(levada_files
  PUBLIC levada levada_formats
  PRIVATE $<BUILD_INTERFACE:levada_warnings>)
