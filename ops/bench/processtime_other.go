//go:build !unix && !windows

package bench

import (
	"runtime"
	"time"
)

var began = time.Now()

// processTime is what all threads could have had: this system does not tell what they took.
func processTime() time.Duration { return time.Since(began) * time.Duration(runtime.GOMAXPROCS(0)) }
