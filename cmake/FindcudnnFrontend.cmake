# SPDX-License-Identifier: Apache-2.0
# cudnnFrontend::cudnnFrontend (headers only), cudnnFrontend_FOUND, cudnnFrontend_VERSION.
# $CUDNN_FRONTEND_HOME says where it is when it is in no usual place nor where
# launch/cudnn_frontend.sh puts it. The oldest that serves names generate_stats.
find_path(cudnnFrontend_INCLUDE_DIR cudnn_frontend.h
          HINTS ENV CUDNN_FRONTEND_HOME ${PROJECT_SOURCE_DIR}/build/cudnn_frontend
          PATH_SUFFIXES include)
mark_as_advanced(cudnnFrontend_INCLUDE_DIR)
if(cudnnFrontend_INCLUDE_DIR)
  file(STRINGS ${cudnnFrontend_INCLUDE_DIR}/cudnn_frontend_version.h numbers
       REGEX "#define CUDNN_FRONTEND_(MAJOR|MINOR|PATCH)_VERSION ")
  string(REGEX REPLACE "[^0-9;]" "" numbers "${numbers}")
  list(JOIN numbers "." cudnnFrontend_VERSION)
  if(cudnnFrontend_VERSION VERSION_LESS 1.13)
    set(cudnnFrontend_INCLUDE_DIR "")
  endif()
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(cudnnFrontend REQUIRED_VARS cudnnFrontend_INCLUDE_DIR
                                  VERSION_VAR cudnnFrontend_VERSION)
if(cudnnFrontend_FOUND AND NOT TARGET cudnnFrontend::cudnnFrontend)
  add_library(cudnnFrontend::cudnnFrontend INTERFACE IMPORTED)
  set_target_properties(cudnnFrontend::cudnnFrontend PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES ${cudnnFrontend_INCLUDE_DIR}
    INTERFACE_COMPILE_DEFINITIONS "CUDNN_FRONTEND_SKIP_JSON_LIB;NV_CUDNN_FRONTEND_DISABLE_LOGGING")
endif()
