# SPDX-License-Identifier: Apache-2.0
# cmake -DMODULES=cmake -DWORK=DIRECTORY -DGENERATOR=Ninja -DMAKE=ninja -P wheels.cmake: NCCL and
# cuDNN are found in a folder as pip makes it, which has libnccl.so.2 and no libnccl.so; and where
# they are not, nothing is.
file(REMOVE_RECURSE ${WORK})
foreach(library nccl:nccl.h:libnccl.so.2 cudnn:cudnn.h:libcudnn.so.9)
  string(REPLACE ":" ";" library ${library})
  list(GET library 0 name)
  list(GET library 1 header)
  list(GET library 2 file)
  file(WRITE ${WORK}/nvidia/${name}/include/${header} "#define NCCL_MAJOR 2\n#define NCCL_MINOR 28\n#define NCCL_PATCH 9\n")
  file(WRITE ${WORK}/nvidia/${name}/lib/${file} "")
endforeach()
file(WRITE ${WORK}/nvidia/cudnn/include/cudnn_version.h
  "#define CUDNN_MAJOR 9\n#define CUDNN_MINOR 19\n#define CUDNN_PATCHLEVEL 0\n")
file(WRITE ${WORK}/CMakeLists.txt [[
cmake_minimum_required(VERSION 3.25)
project(wheels NONE)
set(CMAKE_FIND_USE_CMAKE_SYSTEM_PATH OFF)
set(CMAKE_FIND_USE_SYSTEM_ENVIRONMENT_PATH OFF)
list(APPEND CMAKE_MODULE_PATH ${MODULES})
find_package(NCCL QUIET)
find_package(cuDNN QUIET)
message(STATUS "found: ${NCCL_FOUND} ${NCCL_VERSION} ${cuDNN_FOUND} ${cuDNN_VERSION}")
]])
function(expect FOLDER LINE)
  file(REMOVE_RECURSE ${WORK}/build)
  execute_process(COMMAND ${CMAKE_COMMAND} -G "${GENERATOR}" -S ${WORK} -B ${WORK}/build
    -DCMAKE_MAKE_PROGRAM=${MAKE} -DMODULES=${MODULES}
    -DTESSERA_NVIDIA_WHEELS=${FOLDER}
    OUTPUT_VARIABLE said ERROR_VARIABLE said RESULT_VARIABLE result)
  if(NOT result EQUAL 0 OR NOT said MATCHES "found: ${LINE}\n")
    message(FATAL_ERROR "not `found: ${LINE}` but:\n${said}")
  endif()
endfunction()
expect(${WORK}/nvidia "TRUE 2.28.9 TRUE 9.19.0")
expect(${WORK}/nowhere "FALSE  FALSE ")
