package ops

import "github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"

// ISA names the instruction set that attention and matrix products run on: "avx512", "avx2" or "generic" (portable Go).
func ISA() string { return cpu.ISA() }

// BFloat16ISA names what attention multiplies bfloat16 with: "amx", "avx512bf16", or "" on a processor or build without.
func BFloat16ISA() string { return cpu.BFloat16ISA() }
