#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From nothing to a trained model on Debian 12: installs what is missing, builds, prepares the King
# James Bible, trains recipes/quickstart.yaml on 2 ranks, verifies the checkpoint, writes some text.
# Every command is printed as it runs. The second time nothing is installed or rebuilt.
set -euo pipefail
cd "$(dirname "$0")/.."

run() { printf '\n+ %s\n' "$*"; "$@"; }

./launch/dependencies.sh build text
run cmake --preset quickstart -Wno-dev >/dev/null
run cmake --build --preset quickstart

tessera=build/quickstart/tessera
mkdir -p corpora
if command -v bible >/dev/null; then
  if [ ! -s corpora/kjv.txt ]; then
    echo "+ bible -f -l0 'Gen1:1-Rev22:21' | sed 's/^[^ ]* //' > corpora/kjv.txt"
    bible -f -l0 'Gen1:1-Rev22:21' | sed 's/^[^ ]* //' >corpora/kjv.txt.tmp
    mv corpora/kjv.txt.tmp corpora/kjv.txt
  fi
else
  echo "bible-kjv is not installed: using the texts in /usr/share/common-licenses instead"
  [ -s corpora/kjv.txt ] || cat /usr/share/common-licenses/* >corpora/kjv.txt
fi
run $tessera data prepare --input corpora/kjv.txt --tokenizer train:4096 -o corpora/kjv

# mpirun refuses root unless told; it is what a container has.
if [ "$(id -u)" -eq 0 ]; then
  export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
fi
run mpirun --oversubscribe -n 2 $tessera train recipes/deepseek_tiny.yaml --resume none
run $tessera checkpoint verify runs/deepseek_tiny
run $tessera eval runs/deepseek_tiny
run $tessera generate runs/deepseek_tiny -p "In the beginning" --max-tokens 120
