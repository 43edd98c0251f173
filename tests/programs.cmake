# SPDX-License-Identifier: Apache-2.0
# One program holds all tests of a room that run in the same way, since linking and GoogleTest's
# headers cost more than most tests do. Each test file stays a test of its own for ctest, in a
# process of its own: PROGRAM --tests kernels/norm_test (support/chosen_tests.h).
#
# tessera_test(kernels/norm_test [RANKS 1 2 4] [SANITIZED_RANKS 2] [LABELS ranks]
#              [SOURCES extra.cc ...] [LINKS t ...] [LONG_IF_SANITIZED]
#              [NEEDS target ...] [GPU_STAND_IN] [ON_CUDA] [ON_GPU] [THREADS] [ALONE])
#   tests/kernels/norm_test.cc. With RANKS it runs once under mpirun for each number of ranks, with
#   the World of support/rank_world.h. Labels: unit (default), ranks, e2e, gpu, long (which the plain
#   test command leaves out). With a sanitizer, numbers of ranks other than SANITIZED_RANKS have the
#   label sanitized_long, too; without that list, 1 and 8 have it where there is another number.
#   LONG_IF_SANITIZED: with a sanitizer, the test has the label sanitized_long, too.
#   ON_CUDA: once more on the CUDA kernels compiled for the host, as kernels/norm_test_on_cuda.
#   ON_GPU: once more on a GPU, as ..._on_gpu, and everywhere through its stand-in, whose kernels are
#           the CPU's, so that the way there and back is tested, as ..._through_stand_in.
#   THREADS: it starts threads, so ThreadSanitizer looks at it, in programs that hold nothing else
#           (preset tsan, ROOM_threads_tests).
#   ALONE: a program of its own, where flags or headers are its own.
#   NEEDS: what has to be built before it can run.
# The programs are ROOM_tests, ROOM_ranks_tests, ROOM_tests_on_cuda, ROOM_tests_on_gpu; those of the
# rooms e2e and soak start the real program.
# Targets: checked_tests, all unit and rank tests (preset asan); tsan_tests, those with threads;
# gpu_tests, all that have something to do on a GPU (tests/gpu.sh).
add_custom_target(checked_tests)
add_custom_target(tsan_tests)
add_custom_target(gpu_tests)

# What every test sees. All test files are compiled with the flags of this target, so that they can
# share its precompiled headers. -O1, with sanitizers -Og, since tests take longer to compile than to
# run (and GCC 12 at -O2 warns of strings inside precompiled headers that are sound). GCC is asked to
# keep the directive that names them, without which ccache would not remember such objects.
# nlohmann-json costs each file that sees it 0.9 s, precompiled or not used, so only the tests of the
# program see that.
add_library(test_headers OBJECT support/precompiled.cc)
add_library(test_json_headers OBJECT support/precompiled.cc)
set(test_options "")
set(test_optimization -O1)
if(TESSERA_SANITIZE)
  set(test_optimization -Og)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL GNU)
  set(test_options -fpch-preprocess)
endif()
# UBSan doubles the time that a test file takes to compile (27 s instead of 14 with ASan alone), and
# what it is to watch is the library, which keeps it.
if(TESSERA_SANITIZE MATCHES "undefined")
  list(APPEND test_options -fno-sanitize=undefined)
endif()
function(tessera_test_flags TARGET)
  target_link_libraries(${TARGET} PUBLIC tessera GTest::gtest GTest::gmock
    nlohmann_json::nlohmann_json)
  target_compile_options(${TARGET} PRIVATE ${TESSERA_WARNINGS} ${test_options}
    $<$<CONFIG:Release>:${test_optimization}>)
  target_compile_definitions(${TARGET} PRIVATE
    TESSERA_SOURCE_DIR="${PROJECT_SOURCE_DIR}" TESSERA_SANITIZERS="${TESSERA_SANITIZE}"
    TESSERA_BINARY="$<TARGET_FILE:tessera_cli>"
    TESSERA_CUDA_STAND_IN="$<TARGET_FILE:tessera_cuda_stand_in>")
endfunction()
foreach(headers test_headers test_json_headers)
  tessera_test_flags(${headers})
  target_precompile_headers(${headers} PRIVATE <gtest/gtest.h> <gmock/gmock.h>)
endforeach()
target_precompile_headers(test_json_headers PRIVATE <nlohmann/json.hpp>)

# The main() of the programs without MPI, and of those under mpirun.
foreach(main test rank)
  add_library(tessera_${main}_main OBJECT support/${main}_main.cc support/chosen_tests.cc)
  target_link_libraries(tessera_${main}_main PUBLIC tessera GTest::gtest GTest::gmock)
  target_compile_options(tessera_${main}_main PRIVATE ${TESSERA_WARNINGS})
endforeach()

# tessera_test_files(NAME): the object library NAME, to which tests are added one by one. GoogleTest
# counts a test once however often its objects are linked, so several programs may share them.
function(tessera_test_files NAME)
  if(TARGET ${NAME})
    return()
  endif()
  add_library(${NAME} OBJECT)
  tessera_test_flags(${NAME})
  if(NAME MATCHES "^(e2e|soak)_")
    target_precompile_headers(${NAME} REUSE_FROM test_json_headers)
  else()
    target_precompile_headers(${NAME} REUSE_FROM test_headers)
  endif()
endfunction()

# tessera_test_program(NAME MAIN FILES...): the program NAME with the tests of object libraries.
function(tessera_test_program NAME MAIN)
  if(TARGET ${NAME})
    return()
  endif()
  add_executable(${NAME})
  target_link_libraries(${NAME} PRIVATE tessera_${MAIN}_main ${ARGN})
  set_target_properties(${NAME} PROPERTIES LINKER_LANGUAGE CXX)
endfunction()

# tessera_ctest(NAME LABELS ENVIRONMENT COMMAND...)
function(tessera_ctest NAME LABELS ENVIRONMENT)
  add_test(NAME ${NAME} COMMAND ${ARGN})
  set_tests_properties(${NAME} PROPERTIES LABELS "${LABELS}" TIMEOUT 1800
    ENVIRONMENT "${ENVIRONMENT}")
endfunction()

function(tessera_test PATH)
  cmake_parse_arguments(TEST "GPU_STAND_IN;ON_CUDA;ON_GPU;THREADS;ALONE;LONG_IF_SANITIZED" ""
    "RANKS;SANITIZED_RANKS;LABELS;SOURCES;LINKS;NEEDS" ${ARGN})
  if(NOT TEST_LABELS)
    set(TEST_LABELS unit)
  endif()
  if(TEST_THREADS)
    list(APPEND TEST_LABELS threads)
  endif()
  if(TEST_LONG_IF_SANITIZED AND TESSERA_SANITIZE)
    list(APPEND TEST_LABELS sanitized_long)
  endif()
  if(TEST_GPU_STAND_IN)
    list(APPEND TEST_NEEDS tessera_cuda_stand_in)
  endif()
  set(main test)
  if(TEST_RANKS)
    set(main rank)
  endif()

  # Where it belongs: files that several programs share are an object library of their own.
  string(REGEX REPLACE "/.*" "" room ${PATH})
  set(program ${room}_tests)
  if(TEST_RANKS)
    set(program ${room}_ranks_tests)
  endif()
  if(TEST_THREADS AND TESSERA_SANITIZE STREQUAL "thread")
    set(program ${room}_threads_tests)
  endif()
  if(TEST_ALONE)
    string(REPLACE "/" "_" program ${PATH})
  endif()
  set(files ${program}_files)
  if(TEST_ON_CUDA OR TEST_ON_GPU)
    set(files ${program}_shared_files)
  endif()
  tessera_test_files(${files})
  target_sources(${files} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/${PATH}.cc)
  tessera_test_program(${program} ${main} ${files})
  target_link_libraries(${program} PRIVATE ${files} ${TEST_LINKS})
  foreach(source ${TEST_SOURCES})
    get_filename_component(source ${source} ABSOLUTE BASE_DIR ${CMAKE_CURRENT_SOURCE_DIR})
    get_target_property(there ${program} SOURCES)
    if(NOT source IN_LIST there)
      target_sources(${program} PRIVATE ${source})
    endif()
  endforeach()
  if(TEST_NEEDS)
    add_dependencies(${program} ${TEST_NEEDS})
  endif()
  if(NOT room MATCHES "^(e2e|soak)$")
    add_dependencies(checked_tests ${program})
  endif()
  if(TEST_THREADS)
    add_dependencies(tsan_tests ${program})
  endif()
  if("gpu" IN_LIST TEST_LABELS)
    add_dependencies(gpu_tests ${program})
  endif()

  if(TEST_RANKS)
    set(plain_ranks ${TEST_RANKS})
    if(TESSERA_SANITIZE AND TEST_SANITIZED_RANKS)
      set(plain_ranks ${TEST_SANITIZED_RANKS})
    elseif(TESSERA_SANITIZE)
      list(FILTER plain_ranks EXCLUDE REGEX "^[18]$")
    endif()
    foreach(ranks ${TEST_RANKS})
      set(labels ${TEST_LABELS})
      if(plain_ranks AND NOT ranks IN_LIST plain_ranks)
        list(APPEND labels sanitized_long)
      endif()
      tessera_ctest(${PATH}@${ranks} "${labels}" "${rank_environment}" ${CMAKE_COMMAND} -E env
        OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
        ${MPIEXEC_EXECUTABLE} --oversubscribe --bind-to none -n ${ranks}
        $<TARGET_FILE:${program}> --tests ${PATH})
      set_tests_properties(${PATH}@${ranks} PROPERTIES PROCESSORS 2)
    endforeach()
  else()
    tessera_ctest(${PATH} "${TEST_LABELS}" "${test_environment}" ${program} --tests ${PATH})
  endif()

  if(TEST_ON_CUDA)
    tessera_test_program(${program}_on_cuda ${main} ${files} test_cuda_on_host)
    add_dependencies(checked_tests ${program}_on_cuda)
    tessera_ctest(${PATH}_on_cuda unit "${test_environment}" ${program}_on_cuda --tests ${PATH})
  endif()
  if(TEST_ON_GPU)
    set(on_gpu ${program}_on_gpu)
    tessera_test_program(${on_gpu} ${main} ${files} test_on_gpu ${CMAKE_DL_LIBS})
    add_dependencies(${on_gpu} tessera_cuda_stand_in)
    add_dependencies(checked_tests ${on_gpu})
    add_dependencies(gpu_tests ${on_gpu})
    tessera_ctest(${PATH}_on_gpu gpu "${test_environment}" ${on_gpu} --tests ${PATH})
    set_tests_properties(${PATH}_on_gpu PROPERTIES SKIP_REGULAR_EXPRESSION SKIPPED:)
    tessera_ctest(${PATH}_through_stand_in unit "${test_environment}" ${CMAKE_COMMAND} -E env
      TESSERA_CUDA_PLUGIN=$<TARGET_FILE:tessera_cuda_stand_in>
      $<TARGET_FILE:${on_gpu}> --tests ${PATH})
  endif()
endfunction()
