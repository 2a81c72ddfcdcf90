//go:build !unix

package bench

// PeakMemory is the most memory of the machine that the process has held so far, in bytes; 0 where the system does not tell.
func PeakMemory() int64 { return 0 }
