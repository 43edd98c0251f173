#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/gpu_pack.sh [PACK [BINARIES]]: packs for tests/gpu.sh what a bare machine lacks, 60 MiB at
# most in all. PACK (build/gpu_pack.tar.xz): what building Tessera needs (launch/dependencies.sh
# build, GoogleTest, cmake, ninja), from the Debian packages of this machine, to be unpacked as a
# prefix. BINARIES (build/gpu_binaries.tar.xz): the programs and tests themselves, built here in
# GPU_BUILD (build/gpu) for GPU_ARCHITECTURES (90), so that no time is spent on that there; left out
# where there is no nvcc. Not the compiler, CUDA, cuDNN or NCCL: they are there. The other machine's
# C library must be as new as this one's.
#   GPU_PACK_ONLY=binaries|pack   one of the two
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
pack=$(realpath -m "${1:-build/gpu_pack.tar.xz}")
binaries=$(realpath -m "${2:-build/gpu_binaries.tar.xz}")
build=$(realpath -m "${GPU_BUILD:-build/gpu}")
only=${GPU_PACK_ONLY:-}
most=$((60 << 20))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# What tests/gpu.sh calls 1 and 2 run, stripped. They know their sources and each other by the paths
# of this machine, which gpu.sh makes links for (built_at); it takes them only where its tree is the
# one that they were built from (built_from).
pack_binaries() {
  local hash
  PATH=$PATH:/usr/local/cuda/bin
  command -v nvcc >/dev/null || { echo "gpu_pack.sh: no nvcc: packed without programs" >&2; return 0; }
  hash=$(tests/gpu/tree_hash.sh)
  cmake -S . -B "$build" -G Ninja -Wno-dev -DCMAKE_BUILD_TYPE=Release -DTESSERA_CUDA=ON \
    -DCMAKE_CUDA_ARCHITECTURES="${GPU_ARCHITECTURES:-90}" ${GPU_CMAKE_OPTIONS:-} >"$work/configure.log" ||
    { tail -20 "$work/configure.log" >&2; exit 1; }
  ninja -C "$build" tessera_cli tessera_cuda tessera_cuda_stand_in bench_gpu_kernels gpu_tests
  cmake "-DBUILD=$build" "-DOUT=$build/tests.tsv" -P tests/gpu/list_tests.cmake
  [ "$hash" = "$(tests/gpu/tree_hash.sh)" ] || { echo "gpu_pack.sh: the tree changed meanwhile" >&2; exit 1; }
  mkdir "$work/binaries"
  echo "$hash" >"$work/binaries/built_from"
  printf '%s\n%s\n' "$root" "$build" >"$work/binaries/built_at"
  cp "$build/tests.tsv" "$work/binaries/"
  (cd "$build" && find . -name CMakeFiles -prune -o -name '*.cmake' -o \( -type f -o -type l \) \
    \( -perm -u+x -o -name 'lib*.so*' \) -print0 | tar -cf - --null -T -) | tar -C "$work/binaries" -xf -
  find "$work/binaries" -type f \( -perm -u+x -o -name '*.so*' \) -exec strip --strip-unneeded {} + 2>/dev/null || true
  mkdir -p "$(dirname "$binaries")"
  tar -C "$work/binaries" -cf - . | xz -T0 -6 >"$binaries"
  printf '%s: %d files, %d MiB, %d MiB unpacked\n' "$binaries" \
    "$(find "$work/binaries" -type f | wc -l)" $(($(stat -c %s "$binaries") >> 20)) \
    "$(du -sm "$work/binaries" | cut -f1)"
}
within_the_limit() {
  local bytes=0 file
  for file in "$pack" "$binaries"; do
    [ ! -f "$file" ] || bytes=$((bytes + $(stat -c %s "$file")))
  done
  [ "$bytes" -le "$most" ] || { echo "gpu_pack.sh: $((bytes >> 20)) MiB, more than $((most >> 20))" >&2; exit 1; }
}
if [ "$only" != pack ]; then pack_binaries; fi
if [ "$only" = binaries ]; then within_the_limit; exit 0; fi

./launch/dependencies.sh build test
# The packages that the build names, with the libraries and the data that they belong to.
wanted=(openmpi-bin openmpi-common libopenmpi-dev libopenmpi3 libpmix2 libhdf5-dev libdnnl-dev libspdlog-dev
  libfmt-dev libcli11-dev libyaml-cpp-dev nlohmann-json3-dev libisal-dev libpcre2-dev libsimdjson-dev
  libzstd-dev zlib1g-dev liblzma-dev libssl-dev libgtest-dev libgmock-dev libbenchmark-dev
  cmake cmake-data ninja-build)
# Documents, static libraries where there is a shared one, and languages that nobody asked for.
unwanted='^/\.$|/share/(doc|man|lintian|bash-completion|vim|emacs|aclocal|metainfo|icons|applications|info|locale|mime)(/|$)|/share/cmake-[0-9.]*/Help/|/bin/(h5|mpif|oshf|shmemf)'
unwanted+='|/lib(hdf5|openmpi|crypto|ssl|zstd|z|lzma|pcre2|simdjson|isal|dnnl|spdlog|fmt|yaml-cpp)[^/]*\.a$|/lib(hdf5|mpi)[^/]*(cpp|fortran|mpifh|usempi|java)[^/]*$|\.mod$'

for package in "${wanted[@]}"; do dpkg -L "$package"; done | sort -u | grep -vE "$unwanted" |
  while read -r file; do { [ -f "$file" ] || [ -L "$file" ]; } && [ ! -d "$file" ] && echo "$file"; done \
  >"$work/files" || true

# What the linker's names lead to: libspdlog.so.1.10, libspdlog.so.1.10.0.
grep -E '/lib[^/]*\.so$' "$work/files" |
  while read -r link; do ls -d "$link".* 2>/dev/null; readlink -f "$link"; done | sort -u >"$work/versions" || true
cat "$work/versions" >>"$work/files"

# The libraries that these need; the C and C++ libraries come with the other machine's compiler.
base='/(ld-linux[^/]*|lib(c|m|dl|rt|pthread|resolv|util|gcc_s|stdc\+\+|gomp|anl|nsl))\.so'
xargs -d '\n' -a "$work/files" file -L 2>/dev/null | grep -E 'ELF 64-bit.*(shared object|executable)' |
  cut -d: -f1 | xargs -d '\n' ldd 2>/dev/null | grep -oE '=> /[^ ]+' | cut -c4- | sort -u |
  grep -vE "$base" >"$work/libraries"
while read -r library; do
  echo "$library"
  readlink -f "$library"
done <"$work/libraries" >>"$work/files"

# Debian's /lib is /usr/lib: everything goes below usr/.
mkdir "$work/prefix"
sed -E 's#^/(lib|lib64|bin|sbin)/#/usr/\1/#' "$work/files" | sort -u | sed 's#^/##' |
  tar -C / -cf - --no-recursion -T - 2>/dev/null | tar -C "$work/prefix" -xf -
# What Debian leaves to its alternatives, and HDF5 as one directory: h5cc names absolute paths.
usr=$work/prefix/usr
machine=$(gcc -print-multiarch)
for name in mpirun mpiexec mpicc mpicxx; do ln -sfn "$name.openmpi" "$usr/bin/$name"; done
# A compiler looks below include/MACHINE in its own prefix alone.
cp -an "$usr/include/$machine/." "$usr/include/" && rm -r "$usr/include/$machine"
mkdir -p "$usr/hdf5"
ln -sfn ../include/hdf5/serial "$usr/hdf5/include"
ln -sfn "../lib/$machine/hdf5/serial" "$usr/hdf5/lib"
# Links that lead out of the prefix would dangle: their files take their place.
find "$usr" -type l | while read -r link; do
  [ -e "$link" ] && [ "$(realpath "$link" | cut -c1-${#work})" = "$work" ] && continue
  origin=$(readlink -f "/usr${link#"$usr"}") || true
  rm "$link"
  [ -f "$origin" ] && cp "$origin" "$link"
done || true

# Headers of the optional attention of cuDNN: without them the plugin is built all the same.
./launch/cudnn_frontend.sh "$usr" || echo "gpu_pack.sh: packed without cudnn_frontend.h" >&2

mkdir -p "$(dirname "$pack")"
tar -C "$work/prefix" -cf - usr | xz -T0 -6 >"$pack"
printf '%s: %d files, %d MiB, %d MiB unpacked\n' "$pack" "$(find "$work/prefix" -type f | wc -l)" \
  $(($(stat -c %s "$pack") >> 20)) "$(du -sm "$work/prefix" | cut -f1)"
within_the_limit
