# Pqxx::pqxx, from libpqxx's pkg-config file: it ships no CMake configuration in Debian.
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(PC_Pqxx QUIET libpqxx)
  pkg_check_modules(PC_Pq QUIET libpq)
endif()
find_path(Pqxx_INCLUDE_DIR pqxx/pqxx HINTS ${PC_Pqxx_INCLUDE_DIRS})
find_library(Pqxx_LIBRARY pqxx HINTS ${PC_Pqxx_LIBRARY_DIRS})
find_path(Pq_INCLUDE_DIR libpq-fe.h HINTS ${PC_Pq_INCLUDE_DIRS} PATH_SUFFIXES postgresql)
find_library(Pq_LIBRARY pq HINTS ${PC_Pq_LIBRARY_DIRS})
set(Pqxx_VERSION ${PC_Pqxx_VERSION})
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(Pqxx
  REQUIRED_VARS Pqxx_LIBRARY Pqxx_INCLUDE_DIR Pq_LIBRARY Pq_INCLUDE_DIR VERSION_VAR Pqxx_VERSION)
if(Pqxx_FOUND AND NOT TARGET Pqxx::pqxx)
  add_library(Pqxx::pqxx UNKNOWN IMPORTED)
  set_target_properties(Pqxx::pqxx PROPERTIES
    IMPORTED_LOCATION ${Pqxx_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES "${Pqxx_INCLUDE_DIR};${Pq_INCLUDE_DIR}"
    INTERFACE_LINK_LIBRARIES ${Pq_LIBRARY})
endif()
mark_as_advanced(Pqxx_INCLUDE_DIR Pqxx_LIBRARY Pq_INCLUDE_DIR Pq_LIBRARY)
