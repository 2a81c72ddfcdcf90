//go:build !purego

package cpu

import (
	"sync"
	"syscall"

	"golang.org/x/sys/cpu"
)

// hasAMX reports whether the processor multiplies tiles of bfloat16 and the system lets this process: Linux wants to be asked (5.16 and
// later), once and for all threads, because the tiles enlarge what a signal must save. It refuses where an alternate signal stack
// is too small for that, as some are that C code sets up.
var hasAMX = sync.OnceValue(func() bool {
	const requestPermission, tileData = 0x1023, 18 // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
	if !cpu.X86.HasAMXTile || !cpu.X86.HasAMXBF16 {
		return false
	}
	_, _, refused := syscall.RawSyscall(syscall.SYS_ARCH_PRCTL, requestPermission, tileData, 0)
	return refused == 0
})
