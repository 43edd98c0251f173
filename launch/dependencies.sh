#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what Tessera needs from Debian's archive and nothing else; quick when all is there.
#   launch/dependencies.sh [build] [text] [test] [fuzz] [slurm]      (default: build)
set -euo pipefail

build=(g++ cmake ninja-build pkg-config openmpi-bin libopenmpi-dev libhdf5-dev libdnnl-dev
       libspdlog-dev libfmt-dev libcli11-dev libyaml-cpp-dev nlohmann-json3-dev libisal-dev
       libpcre2-dev libsimdjson-dev libzstd-dev zlib1g-dev liblzma-dev libssl-dev)
text=(bible-kjv xz-utils)
test=(libgtest-dev libgmock-dev libbenchmark-dev clang clang-format-14 hdf5-tools python3 python3-h5py
      protobuf-compiler qemu-user bash-completion git)
fuzz=(clang libclang-rt-14-dev libomp-14-dev)
slurm=(slurm-wlm slurmctld slurmd munge libpmix2)

groups=("$@"); [ ${#groups[@]} -gt 0 ] || groups=(build)
wanted=()
for group in "${groups[@]}"; do
  case $group in
    build) wanted+=("${build[@]}") ;; text) wanted+=("${text[@]}") ;; test) wanted+=("${test[@]}") ;;
    fuzz) wanted+=("${fuzz[@]}") ;; slurm) wanted+=("${slurm[@]}") ;;
    *) echo "dependencies.sh: unknown group '$group' (build text test fuzz slurm)" >&2; exit 2 ;;
  esac
done

if ! command -v apt-get >/dev/null; then
  echo "dependencies.sh: this machine has no apt-get; Tessera is built on Debian 12 or a relative of it" >&2
  exit 1
fi
missing=()
for package in "${wanted[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Abbrev}' "$package" 2>/dev/null)" = "ii " ] || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

as_root=(env DEBIAN_FRONTEND=noninteractive)
if [ "$(id -u)" -ne 0 ]; then
  as_root=(sudo "${as_root[@]}")
  if ! command -v sudo >/dev/null; then
    echo "dependencies.sh: packages are missing, and without sudo only root can install them:" >&2
    echo "  apt-get update && apt-get install --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
fi
echo "+ ${as_root[*]} apt-get install -y --no-install-recommends ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
