# SPDX-License-Identifier: Apache-2.0
# cuDNN::cuDNN, cuDNN_FOUND, cuDNN_VERSION. $CUDNN_HOME says where it is when it is in no usual
# place; the last place to look is a wheel (NvidiaWheels.cmake).
include(NvidiaWheels)
list(TRANSFORM TESSERA_NVIDIA_WHEELS APPEND /cudnn OUTPUT_VARIABLE wheels)
find_path(cuDNN_INCLUDE_DIR cudnn.h HINTS ENV CUDNN_HOME ${CUDAToolkit_INCLUDE_DIRS}
          PATHS ${wheels} PATH_SUFFIXES include)
# Of one installation with the header, where there are several.
find_library(cuDNN_LIBRARY NAMES cudnn libcudnn.so.9
             HINTS ENV CUDNN_HOME ${cuDNN_INCLUDE_DIR}/.. ${CUDAToolkit_LIBRARY_DIR}
             PATHS ${wheels} PATH_SUFFIXES lib lib64)
mark_as_advanced(cuDNN_INCLUDE_DIR cuDNN_LIBRARY)
if(cuDNN_INCLUDE_DIR)
  file(STRINGS ${cuDNN_INCLUDE_DIR}/cudnn_version.h numbers
       REGEX "#define CUDNN_(MAJOR|MINOR|PATCHLEVEL) ")
  string(REGEX REPLACE "[^0-9;]" "" numbers "${numbers}")
  list(JOIN numbers "." cuDNN_VERSION)
endif()
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(cuDNN REQUIRED_VARS cuDNN_LIBRARY cuDNN_INCLUDE_DIR
                                  VERSION_VAR cuDNN_VERSION)
if(cuDNN_FOUND AND NOT TARGET cuDNN::cuDNN)
  add_library(cuDNN::cuDNN UNKNOWN IMPORTED)
  set_target_properties(cuDNN::cuDNN PROPERTIES IMPORTED_LOCATION ${cuDNN_LIBRARY}
    INTERFACE_INCLUDE_DIRECTORIES ${cuDNN_INCLUDE_DIR})
endif()
