# SPDX-License-Identifier: Apache-2.0
# TESSERA_NVIDIA_WHEELS: the folders site-packages/nvidia of the python3 on the PATH, where pip puts
# NVIDIA's libraries (nvidia-nccl-cu13: nvidia/nccl, nvidia-cudnn-cu13: nvidia/cudnn, each with
# include and lib). Empty where there is no python3 or no such wheel. On many machines with GPUs they
# are the only ones. A wheel has libnccl.so.2 and no libnccl.so, so finders ask for both names.
if(NOT DEFINED TESSERA_NVIDIA_WHEELS)
  find_program(TESSERA_PYTHON3 python3)
  mark_as_advanced(TESSERA_PYTHON3)
  set(folders "")
  if(TESSERA_PYTHON3)
    execute_process(COMMAND ${TESSERA_PYTHON3} -c "import nvidia; print(';'.join(nvidia.__path__))"
      OUTPUT_VARIABLE folders OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET TIMEOUT 20)
  endif()
  set(TESSERA_NVIDIA_WHEELS "${folders}" CACHE STRING "Folders site-packages/nvidia with wheels")
  mark_as_advanced(TESSERA_NVIDIA_WHEELS)
endif()
