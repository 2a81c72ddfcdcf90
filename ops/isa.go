package ops

import "github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"

// ISA names the instruction set that attention and matrix products run on: "avx512", "avx2" or "generic" (portable Go).
func ISA() string { return cpu.ISA() }
