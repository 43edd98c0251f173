# SPDX-License-Identifier: Apache-2.0
# cmake -DREADELF=readelf -DFILES="tessera;libtessera.so" -P needed.cmake: none of them asks the
# loader for a library of CUDA, so that one build runs where none is installed.
foreach(file ${FILES})
  execute_process(COMMAND ${READELF} -d ${file} OUTPUT_VARIABLE dynamic RESULT_VARIABLE result)
  if(NOT result EQUAL 0 OR NOT dynamic MATCHES "NEEDED")
    message(FATAL_ERROR "${READELF} cannot read ${file}")
  endif()
  string(REGEX MATCHALL "NEEDED[^\n]*(libcuda|libcublas|libcudnn|libnccl|libnv|libtessera_cuda)[^\n]*" found "${dynamic}")
  if(found)
    message(FATAL_ERROR "${file} needs: ${found}")
  endif()
endforeach()
