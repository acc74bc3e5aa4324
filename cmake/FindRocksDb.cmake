# RocksDb::rocksdb. Not RocksDB's own CMake configuration: that wants what only its static library needs.
find_package(PkgConfig QUIET)
if(PkgConfig_FOUND)
  pkg_check_modules(PC_RocksDb QUIET rocksdb)
endif()
find_path(RocksDb_INCLUDE_DIR rocksdb/db.h HINTS ${PC_RocksDb_INCLUDE_DIRS})
find_library(RocksDb_LIBRARY rocksdb HINTS ${PC_RocksDb_LIBRARY_DIRS})
set(RocksDb_VERSION ${PC_RocksDb_VERSION})
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(RocksDb REQUIRED_VARS RocksDb_LIBRARY RocksDb_INCLUDE_DIR
                                  VERSION_VAR RocksDb_VERSION)
if(RocksDb_FOUND AND NOT TARGET RocksDb::rocksdb)
  add_library(RocksDb::rocksdb UNKNOWN IMPORTED)
  set_target_properties(RocksDb::rocksdb PROPERTIES
    IMPORTED_LOCATION ${RocksDb_LIBRARY} INTERFACE_INCLUDE_DIRECTORIES ${RocksDb_INCLUDE_DIR})
endif()
mark_as_advanced(RocksDb_INCLUDE_DIR RocksDb_LIBRARY)
