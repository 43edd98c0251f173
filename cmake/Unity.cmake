# SPDX-License-Identifier: Apache-2.0
# tessera_unity(TARGET): compiles up to eight sources of a target as one, in builds with sanitizers
# and of fuzzers only, whose time goes into headers and instrumentation. The ordinary build stays
# without, so that every file includes what it uses.
# Sources may call their private helpers alike, so two that define the same name at their margin
# never share a batch; the names are read from the sources when CMake configures.
set(tessera_unity_batch 8)

# Names that SOURCE defines at its left margin: private helpers among them, and more than needed,
# which costs nothing but fuller batches.
function(tessera_names_of SOURCE RESULT)
  file(READ ${SOURCE} text)
  string(REGEX REPLACE "[][;]" " " text "${text}")  # would be read as CMake's own lists
  string(REGEX MATCHALL "\n[A-Za-z_][^\n]*" lines "${text}")
  set(names "")
  foreach(line ${lines})
    if(line MATCHES "^\n(namespace|using|template|extern)")
      continue()
    elseif(line MATCHES "^\n(struct|class|enum class|enum) ([A-Za-z0-9_]+)")
      list(APPEND names ${CMAKE_MATCH_2})
    elseif(line MATCHES "^[^(={]*[^A-Za-z0-9_:]([A-Za-z0-9_]+) *([(={]|$)")
      list(APPEND names ${CMAKE_MATCH_1})
    endif()
  endforeach()
  list(REMOVE_DUPLICATES names)
  set(${RESULT} ${names} PARENT_SCOPE)
endfunction()

function(tessera_unity TARGET)
  if(NOT TESSERA_SANITIZE)
    return()
  endif()
  get_target_property(sources ${TARGET} SOURCES)
  get_target_property(folder ${TARGET} SOURCE_DIR)
  set(batches 0)
  foreach(source ${sources})
    get_filename_component(path ${source} ABSOLUTE BASE_DIR ${folder})
    tessera_names_of(${path} names)
    # The first batch with room whose names are all others.
    set(batch 0)
    while(batch LESS batches)
      list(LENGTH members_${batch} size)
      set(common FALSE)
      foreach(name ${names})
        if(name IN_LIST names_${batch})
          set(common TRUE)
          break()
        endif()
      endforeach()
      if(size LESS tessera_unity_batch AND NOT common)
        break()
      endif()
      math(EXPR batch "${batch} + 1")
    endwhile()
    if(batch EQUAL batches)
      math(EXPR batches "${batches} + 1")
    endif()
    list(APPEND members_${batch} ${source})
    list(APPEND names_${batch} ${names})
    set_source_files_properties(${path} TARGET_DIRECTORY ${TARGET} PROPERTIES
      UNITY_GROUP batch_${batch})
  endforeach()
  set_target_properties(${TARGET} PROPERTIES UNITY_BUILD ON UNITY_BUILD_MODE GROUP)
  # A name of one file may shadow one of its neighbour's; the ordinary build has the warnings.
  target_compile_options(${TARGET} PRIVATE -w)
endfunction()
