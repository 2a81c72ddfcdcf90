#!/usr/bin/env bash
# Everything worth knowing about the kernels on a GPU, in one command and less than ten minutes: do they conform, are they free of races,
# how exact and how fast are they beside PyTorch's. Any NVIDIA GPU of compute capability 8.0 or more will do.
#
#   scripts/h200.sh                      all parts
#   scripts/h200.sh --only speed,ring    some of them: build devices gradcheck tests sanitizer errors speed ring step
#   scripts/h200.sh --build              only fill build/h200/bin, and pack it as bin.tar.gz to carry to a machine that has no Go
#
# A part that cannot run says SKIPPED, why, and what to do about it; one that fails says FAILED, and the command ends with 1. Both are
# listed once more at the end. Logs, figures and report.md, which is the Markdown for docs/performance.md, lie in build/h200.
#
# RINGGRAD_H200_DEVICE=sim runs it on the simulator in tiny sizes, to test this script.
# RINGGRAD_H200_SIZES=tiny runs it on the GPU in tiny sizes.
# RINGGRAD_H200_SECONDS=570 is when it has to be done: the parts that come last then have to do without what time the first ones took.
# shellcheck disable=SC2317 # parts are called by their names
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
root=$PWD out=$PWD/build/h200
device=${RINGGRAD_H200_DEVICE:-cuda} seconds=${RINGGRAD_H200_SECONDS:-570}
sizes=${RINGGRAD_H200_SIZES:-full}
[ "$device" = cuda ] || sizes=tiny
all=(build devices gradcheck tests sanitizer errors speed ring step)
only=("${all[@]}") skipped=() failed=() ran=0 gpus=0 ended="" quiet="" cut="" reserve=0
export CUDA_CACHE_PATH=${CUDA_CACHE_PATH:-$out/cache} CUDA_CACHE_MAXSIZE=1073741824 # of compiled PTX, which takes seconds
export PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1

die() { printf 'h200.sh: %s\n' "$*" >&2; ended=yes; exit 2; }
heading() { printf '\n=== %s (%s s)\n' "$*" "$SECONDS"; }
skip() { printf 'SKIPPED: %s\n' "$*"; skipped+=("$*"); }
fail() { printf 'FAILED: %s\n' "$*"; failed+=("$*"); }
there() { command -v "$1" >/dev/null 2>&1; }
says() { grep -q -- "$1" <<<"$2"; }

# run LIMIT NAME COMMAND...: its output goes to the screen (unless quiet is set) and to logs/NAME.log, and lines of it that begin with
# SKIPPED or FAILED count. The status is the command's; 124 says that its time was up, and cut that it was what the script had left.
run() {
  local limit=$1 log=$out/logs/$2.log left=$((seconds - SECONDS - reserve)) rc line
  shift 2
  cut=
  : >"$log"
  [ "$limit" -le "$left" ] || limit=$left cut=yes
  [ "$limit" -ge 1 ] || return 124
  if [ -n "$quiet" ]; then
    timeout -k 5 "$limit" "$@" </dev/null >"$log" 2>&1
    rc=$?
  else
    timeout -k 5 "$limit" "$@" </dev/null 2>&1 | tee "$log"
    rc=${PIPESTATUS[0]}
  fi
  [ "$rc" != 137 ] || rc=124 # it had to be killed
  while IFS= read -r line; do
    case $line in
      SKIPPED:*) skipped+=("${line#SKIPPED: }") ;;
      FAILED:*) failed+=("${line#FAILED: }") ;;
    esac
  done <"$log"
  return "$rc"
}

# check LIMIT NAME WHAT COMMAND...: a run that must end with 0.
check() {
  local limit=$1 name=$2 what=$3 rc
  shift 3
  ran=$((ran + 1))
  run "$limit" "$name" "$@"
  rc=$?
  case $rc in
    0) ;;
    124)
      if [ -n "$cut" ]; then
        skip "$what: not done in what was left of $seconds s; run it alone with --only, or raise RINGGRAD_H200_SECONDS"
      else
        fail "$what: not done after $limit s; see build/h200/logs/$name.log"
      fi
      ;;
    *) fail "$what: status $rc; see build/h200/logs/$name.log" ;;
  esac
  return "$rc"
}

summary() {
  local rc=$? line
  trap - EXIT
  [ -z "$ended" ] || exit "$rc"
  heading summary
  [ "$gpus" -gt 0 ] || echo "nothing ran on a GPU"
  for line in ${skipped[@]+"${skipped[@]}"}; do printf 'SKIPPED: %s\n' "$line"; done
  for line in ${failed[@]+"${failed[@]}"}; do printf 'FAILED: %s\n' "$line"; done
  if [ "$rc" != 0 ]; then
    echo "the script itself ended with status $rc"
  elif [ ${#failed[@]} -gt 0 ]; then
    rc=1
  fi
  printf '%s runs, %s skipped, %s failed in %s s\n' "$ran" "${#skipped[@]}" "${#failed[@]}" "$SECONDS"
  exit "$rc"
}
trap summary EXIT
trap 'echo "interrupted"; exit 130' INT TERM

# --- building ---------------------------------------------------------------------------------------------------------------------------

tests=(ops/internal/kernel/cuda ops/ringattn/ring)
[ "$device" = sim ] || tests+=(ops/internal/device/cudriver)

# compile FOLDER GO-FLAGS...: train and the test binaries.
compile() {
  local to=$1 package
  shift
  mkdir -p "$to"
  go build -trimpath -ldflags '-s -w' "$@" -o "$to/train" ./cmd/train || return
  for package in "${tests[@]}"; do
    go test -c -trimpath -ldflags '-s -w' "$@" -o "$to/${package##*/}.test" "./$package" || return
  done
  { git rev-parse --short=12 HEAD; git diff --quiet HEAD || echo "with changes"; } 2>/dev/null | paste -sd' ' >"$to/commit"
}

part_build() {
  heading "binaries"
  if [ "$device" = sim ]; then
    bin=$out/bin-sim
    CGO_ENABLED=0 compile "$bin" && return
    fail "binaries: go does not build them; see above"
    return 1
  fi
  bin=$out/bin
  if there go && there "$(go env CC)"; then
    export CGO_ENABLED=1 CGO_CFLAGS="-O2 -I$root/ops/internal/device/cudriver/cudadl/include" # as the Makefile does
    compile "$bin" -tags ringcuda && return
    fail "binaries: go does not build them; see above"
    return 1
  fi
  if [ ! -x "$bin/train" ] && [ -e "$bin.tar.gz" ]; then
    tar -xzf "$bin.tar.gz" -C "$out"
  fi
  if [ -x "$bin/train" ]; then
    echo "no Go with a C compiler here: taking those of build/h200/bin"
    return
  fi
  fail "binaries: no Go with a C compiler and no build/h200/bin.tar.gz: install both, or carry that here from where scripts/h200.sh --build ran"
  return 1
}

# --- what there is ----------------------------------------------------------------------------------------------------------------------

# find_driver names the driver's library where the loader does not know it, as in some containers.
find_driver() {
  local folder
  [ -z "${RINGGRAD_CUDA_LIBRARY:-}" ] || return 0
  if there ldconfig && says libcuda.so.1 "$(ldconfig -p 2>/dev/null)"; then return 0; fi
  for folder in /usr/local/nvidia/lib64 /usr/local/nvidia/lib /usr/lib/x86_64-linux-gnu /usr/lib/aarch64-linux-gnu /usr/lib64 /usr/lib/wsl/lib /run/opengl-driver/lib; do
    if [ -e "$folder/libcuda.so.1" ]; then
      export RINGGRAD_CUDA_LIBRARY=$folder/libcuda.so.1
      echo "the driver is $RINGGRAD_CUDA_LIBRARY"
      return 0
    fi
  done
}

# fields KEY: the values of a key of `train devices --json`, for devices of kind cuda that are used.
fields() {
  awk -v RS='}' -v key="\"$1\": " '/"device": "cuda"/ && /"used": true/ {
    i = index($0, key); if (!i) next
    s = substr($0, i + length(key)); sub(/,?\n.*/, "", s); gsub(/"/, "", s); print s
  }' "$out/devices.json"
}

part_devices() {
  heading "devices"
  local smi="" why part
  date -u '+%Y-%m-%d %H:%M UTC'
  commit=$(cat "$bin/commit" 2>/dev/null)
  [ -n "$commit" ] || commit=unknown
  echo "commit $commit"
  find_driver
  if there nvidia-smi; then
    smi=$(timeout 20 nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit,temperature.gpu --format=csv,noheader 2>&1)
    printf '%s\n' "$smi"
  else
    echo "no nvidia-smi"
  fi
  run 30 devices "$bin/train" devices || { fail "train devices: status $?; see build/h200/logs/devices.log"; return 1; }
  timeout 30 "$bin/train" devices --json >"$out/devices.json"
  gpus=$(fields device | wc -l)
  card=$(fields name | head -1) driver=$(sed 's/^[^,]*, *//;s/,.*//;q' <<<"$smi")
  [ "$device" = cuda ] || { gpus=0 card=simulator driver=none; return 0; }
  [ "$gpus" -eq 0 ] || return 0
  why=$(awk -v RS='}' '/"device": "cuda"/' "$out/devices.json" | sed -n 's/.*"why": "\(.*\)".*/\1/p' | paste -sd';')
  if says '%\|MiB' "$smi"; then
    fail "nvidia-smi lists a GPU and train finds none to use: $why; see whether the driver is on the loader's path, or name it: RINGGRAD_CUDA_LIBRARY=/path/libcuda.so.1"
  else
    for part in "${only[@]}"; do
      case $part in build | devices) ;; *) skip "$part: no GPU; run it on a machine with an NVIDIA GPU of compute capability 8.0 or more and a driver of CUDA 12" ;; esac
    done
    echo "there is none because: $why"
  fi
  return 1
}

# --- is it right ------------------------------------------------------------------------------------------------------------------------

part_gradcheck() {
  heading "gradients against dense attention and golden files"
  if [ "$sizes" = tiny ]; then
    check 60 golden "golden file" "$bin/train" gradcheck --device "$device" --golden testdata/golden/a04_causal_33_gqa.safetensors --ring 1,2 --layout zigzag
    return
  fi
  check 60 golden "golden files" "$bin/train" gradcheck --device "$device" --golden testdata/golden
  check 30 golden16 "golden files in 16 bits" "$bin/train" gradcheck --device "$device" --golden testdata/golden --dtype bfloat16,float16 --ring 1,3 --layout zigzag
  check 100 suite "gradcheck's suite" "$bin/train" gradcheck --device "$device"
}

# testing LIMIT PACKAGE PATTERN: a test binary, whose tests take the device, in its package's folder. The log has every test; the screen
# only what failed, and the counts.
testing() {
  local limit=$1 package=$2 pattern=$3 name=test-${2##*/} log rc
  log=$out/logs/$name.log
  echo "$package"
  quiet=yes
  check "$limit" "$name" "tests of $package" env -C "$package" RINGGRAD_TEST_DEVICE="$device" \
    "$bin/${package##*/}.test" -test.v -test.timeout "$((limit - 2))s" -test.run "$pattern"
  rc=$?
  quiet=
  grep -E '^ *--- FAIL|^panic:' "$log" | head -40
  [ "$rc" = 0 ] || tail -n 25 "$log"
  printf '%s passed, %s skipped, %s failed\n' "$(grep -c -e '--- PASS' "$log")" "$(grep -c -e '--- SKIP' "$log")" "$(grep -c -e '--- FAIL' "$log")"
  [ "$rc" != 0 ] || says '--- PASS' "$(cat "$log")" || fail "tests of $package: none passed"
}

# Tests that take the device, and those of them that take the simulator seconds.
few_kernels='^(TestMemory|TestOptions|TestGivingBack)|^TestKernelsConform$/^simt$/^f32$/^d64$/^RowsThatSeeNothingAreZero$'
all_kernels='^(TestKernelsConform|TestBits|TestFast|TestMemory|TestOptions|TestGivingBack)'
few_rings='^TestFloat64OnADeviceIsRefused$'

part_tests() {
  heading "tests of driver, kernels and ring"
  [ "$device" = sim ] || export RINGGRAD_CUDA_LIBRARY=${RINGGRAD_CUDA_LIBRARY:-libcuda.so.1} # without it tests take a mock
  if [ "$sizes" = tiny ]; then
    testing 60 ops/internal/kernel/cuda "$few_kernels"
    testing 60 ops/ringattn/ring "$few_rings"
    return
  fi
  testing 60 ops/internal/device/cudriver .
  testing 120 ops/internal/kernel/cuda "$all_kernels"
  testing 60 ops/ringattn/ring 'Device|Traces'
}

part_sanitizer() {
  heading "compute-sanitizer"
  local sanitizer tool log rc
  if [ "$device" != cuda ]; then
    skip "compute-sanitizer: it watches GPUs, and this is the simulator, which checks addresses itself"
    return
  fi
  sanitizer=$(command -v compute-sanitizer || command -v /usr/local/cuda/bin/compute-sanitizer) || {
    skip "compute-sanitizer: it is not there; install the package cuda-sanitizer of NVIDIA's CUDA toolkit"
    return
  }
  for tool in memcheck racecheck synccheck; do
    echo "$tool"
    log=$out/logs/sanitizer-$tool.log ran=$((ran + 1))
    run 45 "sanitizer-$tool" "$sanitizer" --tool "$tool" --error-exitcode 86 --print-limit 20 \
      "$bin/train" gradcheck --device cuda --golden testdata/golden/a04_causal_33_gqa.safetensors --ring 1,2 --layout zigzag --dtype float32,bfloat16,float16
    rc=$?
    if says 'Device not supported\|not supported on this\|Unable to initialize\|LibraryNotLoaded' "$(cat "$log")"; then
      skip "compute-sanitizer $tool: it cannot watch this device ($(grep -m1 'not supported\|Unable\|NotLoaded' "$log")); try a machine without a sandbox round the driver"
    elif [ "$rc" = 124 ]; then
      if says '^========= \(Invalid\|Error\|Warning: Race\|Barrier error\|Program hit\)' "$(cat "$log")"; then
        fail "compute-sanitizer $tool: errors, before its time was up; see build/h200/logs/sanitizer-$tool.log"
      else
        skip "compute-sanitizer $tool: no error, but not done after 45 s; run it alone with --only sanitizer"
      fi
    elif [ "$rc" != 0 ]; then
      fail "compute-sanitizer $tool: status $rc; see build/h200/logs/sanitizer-$tool.log"
    fi
  done
}

# --- how exact and how fast: h200.py ----------------------------------------------------------------------------------------------------

# measure LIMIT PART: a part of h200.py, which says itself what is skipped and what failed, and ends in time.
measure() {
  local limit=$1 part=$2 left=$((seconds - SECONDS - reserve))
  if ! there python3; then
    skip "$part: no python3; install it, and PyTorch with CUDA for what is measured beside it"
    return
  fi
  [ "$limit" -le "$left" ] || limit=$left
  check "$((limit + 10))" "$part" "$part" python3 scripts/h200.py "$part" --train "$bin/train" --device "$device" --sizes "$sizes" --out "$out" --seconds "$limit"
}

part_errors() { heading "errors against float64, beside PyTorch's"; measure 70 errors; }
part_speed() { heading "TFLOP/s beside PyTorch's FlashAttention-2 and cuDNN"; measure 220 speed; }
part_ring() { heading "eight ranks against one"; measure 60 ring; }
part_step() { heading "a step of configs/long.yaml"; measure 70 step; }

report() {
  local part
  heading "report: build/h200/report.md"
  {
    echo "<!-- h200: scripts/h200.sh -->"
    echo "## On a GPU"
    echo
    echo "$card; driver $driver; $(date -u +%Y-%m-%d); commit $commit; \`scripts/h200.sh\`, ${#failed[@]} failed, ${#skipped[@]} skipped."
    for part in errors speed ring step; do
      [ ! -s "$out/$part.md" ] || { echo; cat "$out/$part.md"; }
    done
    echo "<!-- end of h200 -->"
  } | tee "$out/report.md"
}

while [ $# -gt 0 ]; do
  case $1 in
    --build) only=(build) ;;
    --only) [ $# -gt 1 ] || die "--only needs parts: ${all[*]}"; IFS=, read -ra only <<<"$2"; shift ;;
    *) sed -n '2,/^set/{/^# shellcheck/d;/^#/s/^# \{0,1\}//p}' "scripts/h200.sh"; ended=yes; [ "$1" = --help ] && exit 0; exit 2 ;;
  esac
  shift
done
for part in "${only[@]}"; do
  [[ " ${all[*]} " == *" $part "* ]] || die "no part $part: there are ${all[*]}"
done
case $device in cuda | sim) ;; *) die "RINGGRAD_H200_DEVICE is $device: give cuda or sim" ;; esac

mkdir -p "$out/logs"
rm -f "$out"/{errors,speed,ring,step,report}.{md,json}
part_build || exit 0
if [ "${only[*]}" = build ]; then
  tar -czf "$bin.tar.gz" -C "$out" "${bin##*/}" || fail "binaries: tar does not pack them"
  ls -l "$bin" "$bin.tar.gz"
  exit 0
fi
part_devices || exit 0
for part in "${only[@]}"; do
  reserve=0
  case $part in
    build | devices) continue ;;
    gradcheck | tests | sanitizer | errors) [[ " ${only[*]} " != *" speed "* ]] || reserve=$((seconds * 2 / 5)) ;; # for what comes last
  esac
  "part_$part"
done
report
exit 0
