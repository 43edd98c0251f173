# SPDX-License-Identifier: Apache-2.0
# Compiles through ccache where it is installed and no other launcher was chosen; never needed.
# Precompiled headers are remembered, too: ccache has to be told that their time stamps and
# definitions are no reason to refuse.
find_program(TESSERA_CCACHE ccache)
mark_as_advanced(TESSERA_CCACHE)
if(TESSERA_CCACHE AND NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
    CCACHE_SLOPPINESS=pch_defines,time_macros ${TESSERA_CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${TESSERA_CCACHE})
  message(STATUS "Compiling through ${TESSERA_CCACHE} (CCACHE_DISABLE=1 does without)")
endif()
