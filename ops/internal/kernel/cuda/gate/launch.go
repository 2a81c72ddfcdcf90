package main

import (
	"strings"

	"github.com/ringgrad/ringgrad/ops/internal/kernel/cuda"
)

// launchOf is how the launch layer starts a pass; other kernels have no tiles and no dynamic shared memory.
func launchOf(m module, function string) (l cuda.Launch, ok bool) {
	forward, backward, ok := cuda.Launches(cuda.Family(m.family), m.width)
	switch {
	case strings.HasPrefix(function, "forward"):
		return forward, ok && forward.Threads > 0
	case strings.HasPrefix(function, "backward"):
		return backward, ok && backward.Threads > 0
	}
	return cuda.Launch{}, false
}
