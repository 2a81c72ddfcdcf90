package main

import (
	"fmt"
	"strings"

	"github.com/ringgrad/ringgrad/ops/internal/kernel/cuda/gate/sass"
)

// limits of an architecture: the most shared memory of a block, and of all blocks of an SM, in bytes.
type limits struct{ block, sm int }

// limitsOf are from NVIDIA's table of technical specifications per compute capability.
var limitsOf = map[string]limits{
	"sm_80":  {163 << 10, 164 << 10},
	"sm_89":  {99 << 10, 100 << 10},
	"sm_90":  {227 << 10, 228 << 10},
	"sm_90a": {227 << 10, 228 << 10},
	"sm_100": {227 << 10, 228 << 10},
}

const (
	registersPerSM = 64 << 10 // of 32 bits, on all of the targets; also the most of a block
	// narrow is the widest head dim (DP) whose kernels must keep everything in registers.
	narrow = 128
	// serialised is ptxas's remark that it waits for every wgmma before it starts the next.
	serialised = "C7510"
)

// rule finds what is wrong with a kernel, or nothing.
type rule struct {
	name  string
	check func(k kernel) string
}

var rules = []rule{
	{"no spills up to d128", checkSpills},
	{"no local memory up to d128", checkLocal},
	{"tensor-core kernels use the tensor cores", checkTensor},
	{"wgmma is not serialised, and ptxas warns of nothing", checkRemarks},
	{"shared memory fits", checkShared},
	{"registers fit", checkRegisters},
	{"the launch layer's threads are the kernel's", checkThreads},
}

// checkAll has a line for every broken rule.
func checkAll(kernels []kernel) []string {
	var broken []string
	for _, k := range kernels {
		for _, r := range rules {
			if wrong := r.check(k); wrong != "" {
				broken = append(broken, fmt.Sprintf("BROKEN %s %s %s: %s (rule: %s)", k.name, k.function, k.target, wrong, r.name))
			}
		}
	}
	return broken
}

// maySpill says whether a kernel need not keep everything in registers: a wide one, or one of those that run only where an element is not
// finite and take any width.
func (k kernel) maySpill() bool { return k.width > narrow || k.family == "careful" }

func checkSpills(k kernel) string {
	if k.maySpill() || k.spillStore+k.spillLoad == 0 {
		return ""
	}
	return fmt.Sprintf("%d bytes of spill stores, %d of spill loads, with %d registers", k.spillStore, k.spillLoad, k.registers)
}

func checkLocal(k kernel) string {
	n := k.mix.Sum(sass.LocalLoad, sass.LocalStore)
	if k.maySpill() || n == 0 && k.stack == 0 {
		return ""
	}
	return fmt.Sprintf("%d local loads and stores, %d bytes of stack", n, k.stack)
}

// attends says whether a kernel is one of the two passes.
func (k kernel) attends() bool {
	return strings.HasPrefix(k.function, "forward") || strings.HasPrefix(k.function, "backward")
}

func checkTensor(k kernel) string {
	want := map[string]sass.Class{"mma": sass.HMMA, "wgmma": sass.HGMMA}[k.family]
	if want == "" || !k.attends() || k.mix.Count[want] > 0 {
		return ""
	}
	return fmt.Sprintf("no %s in %d instructions", want, k.mix.Issued)
}

func checkRemarks(k kernel) string {
	var texts []string
	for _, r := range k.remarks {
		if r.warning || r.code == serialised {
			texts = append(texts, strings.TrimSpace(r.code+" "+r.text))
		}
	}
	return strings.Join(texts, "; ")
}

func checkShared(k kernel) string {
	most := limitsOf[k.target].block
	if n := k.shared + k.launch.Shared; n > most {
		return fmt.Sprintf("%d bytes of shared memory (%d static, %d dynamic), %d is the most on %s", n, k.shared, k.launch.Shared, most, k.target)
	}
	return ""
}

func checkRegisters(k kernel) string {
	if n := k.blockRegisters(); n > registersPerSM {
		return fmt.Sprintf("%d registers of %d threads are %d of a block, %d is the most", k.registers, k.threads, n, registersPerSM)
	}
	return ""
}

func checkThreads(k kernel) string {
	if k.known && k.launch.Threads != k.threads {
		return fmt.Sprintf("%d threads launched, %d declared", k.launch.Threads, k.threads)
	}
	return ""
}

// blockRegisters are what a block takes: a warp gets registers in units of 256.
func (k kernel) blockRegisters() int {
	warps := (k.threads + 31) / 32
	return warps * roundUp(k.registers*32, 256)
}

// blocksPerSM is how many blocks of the kernel are on an SM together.
func (k kernel) blocksPerSM() int {
	const blocks, threads, reserved = 32, 2048, 1 << 10 // sm_89 has 24 and 1536, which no kernel here comes near
	n := min(blocks, threads/max(k.threads, 1), registersPerSM/max(k.blockRegisters(), 1))
	return min(n, limitsOf[k.target].sm/(roundUp(k.shared+k.launch.Shared, 128)+reserved))
}

func roundUp(n, unit int) int { return (n + unit - 1) / unit * unit }
