# SPDX-License-Identifier: Apache-2.0
# tessera_library(NAME SOURCES a.cc ... [USES room ...] [LINKS target ...])
#   One room of the house, as the object library tessera_NAME. Rooms share one include root; the edges
#   named by USES are held against the sources by tests/house_rules_test.cc (docs/decisions/0018-*).
set(TESSERA_ROOMS "")
set(TESSERA_WARNINGS -Wall -Wextra -Wpedantic -Wshadow)
if(TESSERA_WERROR)
  list(APPEND TESSERA_WARNINGS -Werror)
endif()
if(TESSERA_SANITIZE)
  # -O1 -g1: half the time to build, still with lines in the reports. Every finding ends the test.
  add_compile_options(-fsanitize=${TESSERA_SANITIZE} -fno-sanitize-recover=all
    -fno-omit-frame-pointer -O1 -g1)
  add_link_options(-fsanitize=${TESSERA_SANITIZE})
endif()

function(tessera_library NAME)
  cmake_parse_arguments(ROOM "" "" "SOURCES;USES;LINKS" ${ARGN})
  add_library(tessera_${NAME} OBJECT ${ROOM_SOURCES})
  target_include_directories(tessera_${NAME} PUBLIC ${PROJECT_SOURCE_DIR})
  target_compile_options(tessera_${NAME} PRIVATE ${TESSERA_WARNINGS})
  # Tests spend their time in kernels; other rooms are compiled in 0.55 of the time with -Og.
  if(TESSERA_SANITIZE AND NOT NAME STREQUAL "kernels")
    target_compile_options(tessera_${NAME} PRIVATE -Og)
  endif()
  target_link_libraries(tessera_${NAME} PRIVATE ${ROOM_LINKS})
  set(TESSERA_ROOMS ${TESSERA_ROOMS} tessera_${NAME} PARENT_SCOPE)
endfunction()
