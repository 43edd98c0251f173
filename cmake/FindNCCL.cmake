# SPDX-License-Identifier: Apache-2.0
# NCCL::NCCL, NCCL_FOUND, NCCL_VERSION. $NCCL_HOME says where it is when it is in no usual place;
# the last place to look is a wheel (NvidiaWheels.cmake).
include(NvidiaWheels)
list(TRANSFORM TESSERA_NVIDIA_WHEELS APPEND /nccl OUTPUT_VARIABLE wheels)
find_path(NCCL_INCLUDE_DIR nccl.h HINTS ENV NCCL_HOME ${CUDAToolkit_INCLUDE_DIRS}
          PATHS ${wheels} PATH_SUFFIXES include)
# Of one installation with the header, where there are several.
find_library(NCCL_LIBRARY NAMES nccl libnccl.so.2
             HINTS ENV NCCL_HOME ${NCCL_INCLUDE_DIR}/.. ${CUDAToolkit_LIBRARY_DIR}
             PATHS ${wheels} PATH_SUFFIXES lib lib64)
mark_as_advanced(NCCL_INCLUDE_DIR NCCL_LIBRARY)
if(NCCL_INCLUDE_DIR)
  file(STRINGS ${NCCL_INCLUDE_DIR}/nccl.h numbers REGEX "#define NCCL_(MAJOR|MINOR|PATCH) ")
  string(REGEX REPLACE "[^0-9;]" "" numbers "${numbers}")
  list(JOIN numbers "." NCCL_VERSION)
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(NCCL REQUIRED_VARS NCCL_LIBRARY NCCL_INCLUDE_DIR
                                  VERSION_VAR NCCL_VERSION)
if(NCCL_FOUND AND NOT TARGET NCCL::NCCL)
  add_library(NCCL::NCCL UNKNOWN IMPORTED)
  set_target_properties(NCCL::NCCL PROPERTIES IMPORTED_LOCATION ${NCCL_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${NCCL_INCLUDE_DIR})
endif()
