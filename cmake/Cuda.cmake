# SPDX-License-Identifier: Apache-2.0
# Whether libtessera_cuda.so is built, and the CUDA language if so. Sets TESSERA_BUILDS_CUDA.
# TESSERA_CUDA: AUTO builds it where everything is found and says what is missing otherwise; ON
# makes that an error; OFF does not look. No GPU is needed to build.
set(TESSERA_CUDA AUTO CACHE STRING "Build the CUDA plugin: AUTO, ON or OFF")
set_property(CACHE TESSERA_CUDA PROPERTY STRINGS AUTO ON OFF)
set(TESSERA_BUILDS_CUDA FALSE)
string(TOUPPER "${TESSERA_CUDA}" wish)
if(NOT wish MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "TESSERA_CUDA must be AUTO, ON or OFF, not ${TESSERA_CUDA}")
endif()
if(wish STREQUAL "OFF")
  message(STATUS "CUDA plugin: not built (TESSERA_CUDA=OFF)")
  return()
endif()
if(TESSERA_SANITIZE)
  if(wish STREQUAL "ON")
    message(FATAL_ERROR "TESSERA_CUDA=ON with TESSERA_SANITIZE: it watches the host's memory only")
  endif()
  message(STATUS "CUDA plugin: not built (a sanitizer watches the host's memory only)")
  return()
endif()

set(missing "")
function(tessera_report_cuda NAME FOUND DETAIL REMEDY)
  if(FOUND)
    message(STATUS "  ✓ ${NAME} ${DETAIL}")
  else()
    message(STATUS "  ✗ ${NAME} missing: ${REMEDY}")
    set(missing ${missing} ${NAME} PARENT_SCOPE)
  endif()
endfunction()

message(STATUS "CUDA plugin (none of this is needed for the CPU build):")
set(repository "apt-get install from NVIDIA's repository (developer.nvidia.com/cuda-downloads):")
set(oldest_cuda 12.0)  # C++20 in device code
include(CheckLanguage)
# Before the language is enabled: `native` would need a GPU.
if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 90 CACHE STRING "What the CUDA plugin runs on, e.g. 80;90")
endif()
check_language(CUDA)
find_package(CUDAToolkit ${oldest_cuda} QUIET)
set(found FALSE)
if(CMAKE_CUDA_COMPILER AND CUDAToolkit_FOUND)
  set(found TRUE)
endif()
tessera_report_cuda(CUDA ${found} "${CUDAToolkit_VERSION} for sm ${CMAKE_CUDA_ARCHITECTURES}"
  "${repository} cuda-toolkit-13-0 (>= ${oldest_cuda}); put nvcc on the PATH or set CUDACXX")
find_package(cuDNN QUIET)
tessera_report_cuda(cuDNN "${cuDNN_FOUND}" "${cuDNN_VERSION}"
  "${repository} libcudnn9-dev-cuda-13; elsewhere: CUDNN_HOME=/its/directory")
find_package(cudnnFrontend QUIET)  # not needed: without it attention is ours alone
if(cudnnFrontend_FOUND)
  message(STATUS "  ✓ cuDNN's attention through cudnn_frontend.h ${cudnnFrontend_VERSION}")
else()
  message(STATUS "  - cuDNN's attention not built in: no cudnn_frontend.h "
    "(launch/cudnn_frontend.sh; elsewhere: CUDNN_FRONTEND_HOME=/its/directory)")
endif()
find_package(NCCL QUIET)
tessera_report_cuda(NCCL "${NCCL_FOUND}" "${NCCL_VERSION}"
  "${repository} libnccl-dev; elsewhere: NCCL_HOME=/its/directory")

if(missing)
  list(JOIN missing ", " missing)
  if(wish STREQUAL "ON")
    message(FATAL_ERROR "TESSERA_CUDA=ON, but missing: ${missing} (see above)")
  endif()
  message(STATUS "CUDA plugin: not built (missing: ${missing}); TESSERA_CUDA=OFF does not look")
  return()
endif()

set(TESSERA_BUILDS_CUDA TRUE)
enable_language(CUDA)
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_EXTENSIONS OFF)
set(CMAKE_CUDA_FLAGS_RELEASE "-O3")
if(CMAKE_VERSION VERSION_LESS 3.26)
  # Its table of nvcc's dialects ends at C++17.
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  list(APPEND CMAKE_CUDA_COMPILE_FEATURES cuda_std_20)
endif()
