# SPDX-License-Identifier: Apache-2.0
# cmake -DNM=nm -DOBJECTS=a.o;b.o -P weak_symbols.cmake
# Fails when a unit that is compiled once per instruction-set path defines a weak symbol: the linker
# keeps one copy of those for the whole program, which may be the one with AVX-512 in it.
foreach(object ${OBJECTS})
  execute_process(COMMAND ${NM} --defined-only ${object} OUTPUT_VARIABLE symbols
                  COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[^\n]* [WVu] [^\n]*" weak "${symbols}")
  if(weak)
    message(SEND_ERROR "${object} defines ${weak}")
  endif()
endforeach()
