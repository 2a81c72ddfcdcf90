package main

import (
	"os"
	"runtime/debug"

	"github.com/ringgrad/ringgrad/trainer/config"
	"github.com/ringgrad/ringgrad/trainer/estimate"
)

// limitGarbage sets Go's collector so that a training takes the memory that was estimated: almost all of it is a few large arrays
// without pointers, which cost nothing to collect often. GOGC and GOMEMLIMIT, where they are set, stand.
func limitGarbage(m estimate.Memory) {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(m.GCPercent)
	}
}

// limitMemory makes the collector work harder as the process comes near memory_limit. GOMEMLIMIT, where it is set, stands.
func limitMemory(limit config.Bytes) {
	if limit > 0 && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(int64(limit))
	}
}
