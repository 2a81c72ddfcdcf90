package bench

import (
	"time"

	"golang.org/x/sys/windows"
)

// processTime is the processor time of all threads so far, 0 where the system does not tell.
func processTime() time.Duration {
	var created, ended, system, user windows.Filetime
	if err := windows.GetProcessTimes(windows.CurrentProcess(), &created, &ended, &system, &user); err != nil {
		return 0
	}
	const tick = 100 // nanoseconds
	ticks := func(f windows.Filetime) int64 { return int64(f.HighDateTime)<<32 | int64(f.LowDateTime) }
	return time.Duration(tick * (ticks(system) + ticks(user)))
}
