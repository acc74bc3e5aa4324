# cmake --install: headers, one export file per component, and the package configuration.
include(CMakePackageConfigHelpers)
set(LEVADA_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/levada)

set_target_properties(levada PROPERTIES EXPORT_NAME levada)
foreach(component levada formats files kafka postgres rocksdb)
  set(target levada)
  if(NOT component STREQUAL "levada")
    set(target levada_${component})
  endif()
  if(NOT TARGET ${target})
    continue()
  endif()
  install(TARGETS ${target} EXPORT levada-${component}
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
          RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(EXPORT levada-${component} NAMESPACE levada:: FILE levada-${component}.cmake
          DESTINATION ${LEVADA_PACKAGE_DIR})
endforeach()

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/levada DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
        FILES_MATCHING PATTERN "*.h")
install(FILES ${PROJECT_SOURCE_DIR}/cmake/FindRdKafka.cmake ${PROJECT_SOURCE_DIR}/cmake/FindPqxx.cmake
              ${PROJECT_SOURCE_DIR}/cmake/FindRocksDb.cmake
        DESTINATION ${LEVADA_PACKAGE_DIR})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/levadaConfig.cmake.in
                              ${PROJECT_BINARY_DIR}/levadaConfig.cmake
                              INSTALL_DESTINATION ${LEVADA_PACKAGE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/levadaConfigVersion.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/levadaConfig.cmake ${PROJECT_BINARY_DIR}/levadaConfigVersion.cmake
        DESTINATION ${LEVADA_PACKAGE_DIR})
