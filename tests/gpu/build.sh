# SPDX-License-Identifier: Apache-2.0
# tests/gpu.sh's programs: carried (tests/gpu_pack.sh built them elsewhere), left by an earlier call,
# or built here, in this order.

# unpacked FILE [TAR-OPTION...]: not every machine has xz, but those with GPUs have Python.
unpacked() {
  { xz -dc "$1" 2>/dev/null || python3 -c 'import lzma, shutil, sys
shutil.copyfileobj(lzma.open(sys.argv[1]), sys.stdout.buffer)' "$1"; } | tar -xf - "${@:2}"
}

unpack() {
  [ -f "$pack" ] || { echo "no $pack: what is installed must do"; exit 77; }
  [ "$prefix/unpacked" -nt "$pack" ] ||
    { mkdir -p "$prefix" && unpacked "$pack" -C "$prefix" && touch "$prefix/unpacked"; } || exit 1
  du -sh "$prefix" | cut -f1
}

# Programs know their sources and each other by absolute paths: where they were built elsewhere, a
# link leads from there to here.
link_to() {  # link_to HERE THERE
  if [ -e "$2" ]; then
    [ "$(realpath "$2")" = "$(realpath "$1")" ] ||
      { echo "$2, where the programs were built, is something else here"; return 1; }
  else
    mkdir -p "$(dirname "$2")" && ln -sfn "$1" "$2"
  fi
}

carried() {
  [ -z "${GPU_REBUILD:-}" ] || { echo "GPU_REBUILD: not looked at"; exit 77; }
  [ -f "$binaries" ] || { echo "no $binaries: to be built here"; exit 77; }
  local theirs mine their_root their_build
  theirs=$(unpacked "$binaries" -O ./built_from) || exit 1
  mine=$("$root/tests/gpu/tree_hash.sh")
  [ "$theirs" = "$mine" ] || { echo "built from another tree ($theirs, this is $mine)"; exit 77; }
  [ "$(built_from)" = "$mine" ] || { mkdir -p "$build" && unpacked "$binaries" -C "$build"; } || exit 1
  { read -r their_root; read -r their_build; } <"$build/built_at"
  link_to "$root" "$their_root" && link_to "$build" "$their_build" || exit 1
  # What else is lacking here, the stage `doctor` shows.
  "$tessera" version && "$tessera" doctor --gpu >"$logs/carried.log" 2>&1
  [ $? -le 1 ] && ! grep 'cannot be loaded' "$logs/carried.log" ||
    { rm -f "$build/built_from"; echo "they do not run here, so they are built here"; exit 1; }
  echo "$(find "$build" -type f -perm -u+x | wc -l) programs and libraries, from this tree ($mine)"
}

built_from() { cat "$build/built_from" 2>/dev/null || true; }

configure() {
  [ "$(built_from)" != "$("$root/tests/gpu/tree_hash.sh")" ] || { echo "built already"; exit 77; }
  local options=(-DTESSERA_CUDA="$cuda") hdf5=$prefix/usr/hdf5
  [ "$cuda" = OFF ] || options+=(-DCMAKE_CUDA_ARCHITECTURES="${GPU_ARCHITECTURES:-90}")
  [ ! -d "$hdf5" ] || options+=(-DHDF5_ROOT="$hdf5")
  cmake -S "$root" -B "$build" -G Ninja -Wno-dev -DCMAKE_BUILD_TYPE=Release "${options[@]}" || return
  grep -E 'TESSERA_CUDA:|CMAKE_CUDA_COMPILER:' "$build/CMakeCache.txt" | tr '\n' ' '
}

# compile TARGET...: ninja goes on after an error, so what can be built is tested. It goes by files'
# times, which a copied tree may not keep, so what this tree built already is not asked for again.
compile() {
  local hash status
  hash=$("$root/tests/gpu/tree_hash.sh")
  [ "$(built_from)" != "$hash" ] || { echo "built from this tree already"; exit 77; }
  ninja -C "$build" -k 0 "$@" >"$logs/ninja.log" 2>&1
  status=$?
  grep -E 'error:|error :|FAILED:' "$logs/ninja.log" | head -20
  cmake "-DBUILD=$build" "-DOUT=$build/tests.tsv" -P "$root/tests/gpu/list_tests.cmake"
  [ -f "$build/.ninja_log" ] && echo "$(grep -c '\.o	' "$build/.ninja_log") objects, exit code $status"
  return $status
}
# The last of the builds.
compile_rest() {
  compile "$@" || return
  "$root/tests/gpu/tree_hash.sh" >"$build/built_from"
}
