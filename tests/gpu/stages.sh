# SPDX-License-Identifier: Apache-2.0
# tests/gpu.sh's stages: each within its time, none stopping the others, and a row in gpu-N.jsonl as
# soon as it is known, so that a machine that is lost leaves what was seen on it.

# json_text WORDS: as a JSON string.
json_text() {
  printf '"%s"' "$(printf '%s' "$*" | tr -d '\000-\010\013-\037' | tr '\t\n' '  ' |
    sed 's/\\/\\\\/g; s/"/\\"/g')"
}

# row STAGE STATUS SECONDS NOTE [MEMBER...]: appended at once. MEMBER: "name":value, as JSON.
row() {
  local members=''
  [ $# -le 4 ] || members=$(printf ',%s' "${@:5}")
  printf '{"stage":%s,"status":%s,"seconds":%s,"note":%s%s}\n' \
    "$(json_text "$1")" "$(json_text "$2")" "$3" "$(json_text "$4")" "$members" >>"$rows_file"
}

verdict_of() {  # verdict_of EXIT-CODE
  case $1 in
    0) echo ok ;; 77) echo skipped ;; 124 | 137) echo "timed out" ;;
    13[0-9] | 14[0-9]) echo crashed ;; *) echo failed ;;
  esac
}

# stage NAME SECONDS COMMAND...: never later than the call's end. Exit code 77: skipped, and the
# last line of its output says why; otherwise that line is the stage's note. A line `values: {...}`
# goes into the stage's row.
stage() {
  local name=$1 limit=$2 start=$SECONDS left=$((last - SECONDS)) status=0 verdict note values
  shift 2
  local log=$logs/${name//[^A-Za-z0-9]/_}.log
  [ "$limit" -le "$left" ] || limit=$left
  printf '\n== %s (at most %d s)\n' "$name" "$limit"
  if [ "$limit" -lt 5 ]; then
    status=77
    echo "no time left in this call" >"$log"
  else
    stage_name=$name stage_ends=$(($(date +%s) + limit)) \
      timeout -k 10 "$limit" "$root/tests/gpu.sh" in-stage "$@" >"$log" 2>&1 || status=$?
  fi
  verdict=$(verdict_of $status)
  note=$(grep -v -e '^ *$' -e '^values: ' "$log" | tail -1 | cut -c1-150)
  values=$(sed -n 's/^values: //p' "$log" | tail -1)
  case $verdict in
    ok | skipped) ;;
    *) failures=$((failures + 1)); tail -40 "$log" ;;
  esac
  row "$name" "$verdict" $((SECONDS - start)) "$note" ${values:+"\"values\":$values"}
  table+=("$(printf '%-34s %-9s %5d s  %s' "$name" "$verdict" $((SECONDS - start)) "${note:0:110}")")
  echo "${table[-1]}"
}

# within SECONDS: what of them is left before this stage ends, less what killing a program and
# summing up takes.
within() {
  local left=$((${stage_ends:-9999999999} - $(date +%s) - 8))
  echo $(($1 < left ? $1 : left))
}
