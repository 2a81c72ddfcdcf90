package bench

import (
	"bytes"
	"fmt"
	"os"
)

// PeakMemory is the most memory of the machine that the process has held so far, in bytes; 0 where the system does not tell. It is
// VmHWM and not the resource usage's maximum, which a program takes over from the one that started it.
func PeakMemory() int64 {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, line, _ := bytes.Cut(text, []byte("\nVmHWM:"))
	var kib int64
	if _, err := fmt.Sscan(string(line), &kib); err != nil {
		return 0
	}
	return kib << 10
}
