#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# launch/cudnn_frontend.sh [PREFIX]: puts the headers of NVIDIA's cudnn-frontend (MIT) below
# PREFIX/include, by default build/cudnn_frontend, where CMake looks for them. They come from the
# wheel nvidia-cudnn-frontend on PyPI, one version, checked against its SHA-256. Optional: without
# them the CUDA plugin has its own attention only. Needs python3 with pip.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=$(realpath -m "${1:-build/cudnn_frontend}")
version=1.32.0
sha256=c6006556017a4d1c914c52a556c71b1267f2d6a0500f742e7b4edef539878df0

[ ! -f "$prefix/include/cudnn_frontend.h" ] || exit 0
python3 -m pip --version >/dev/null 2>&1 ||
  { echo "cudnn_frontend.sh: python3 has no pip (apt-get install python3-pip)" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
  --python-version 3.11 --implementation cp --platform manylinux_2_28_x86_64 \
  --dest "$work" "nvidia-cudnn-frontend==$version"
wheel=$(ls "$work"/*.whl)
echo "$sha256  $wheel" | sha256sum --check --quiet
python3 -m zipfile -e "$wheel" "$work/wheel"
mkdir -p "$prefix"
cp -r "$work/wheel/include" "$prefix/"
echo "$prefix/include: cudnn-frontend $version"
