package bench

// cost is what a computation takes at least.
type cost struct {
	flops float64
	bytes float64 // every input read and every output written once
}

// Names of what may limit a computation.
const (
	limitFMAPeak  = "fma_peak"
	limitGemmLoop = "gemm_loop"
	limitMemory   = "memory"
)

// Roofline says how fast a computation can be at all, after Williams, Waterman and Patterson, "Roofline: an insightful visual
// performance model for multicore architectures" (2009).
type Roofline struct {
	Flops     float64 `json:"flops"`
	Bytes     float64 `json:"bytes"`     // that pass between memory and processor at least
	Intensity float64 `json:"intensity"` // operations a byte
	Ceiling   float64 `json:"ceiling"`   // 10^9 operations per core-second
	Limit     string  `json:"limit"`     // where the ceiling comes from: fma_peak, gemm_loop or memory
}

// fedAtPeak is the share of the FMA peak from which on the GEMM loop shows that feeding the registers from the first-level cache
// costs nothing: so on an EPYC with Zen 4, which takes two turns for 512 bits. One with Zen 5, which takes one, has 0.96, and a Xeon with
// AVX-512, whose clock falls, 0.87.
const fedAtPeak = 0.97

// roofline finds the lowest ceiling. That of the arithmetic is the FMA peak where the GEMM loop comes close to it, and the GEMM loop
// where it does not: there no kernel that reads its operands can reach the peak.
func roofline(c cost, limits Ceilings, threads int) Roofline {
	r := Roofline{Flops: c.flops, Bytes: c.bytes, Intensity: c.flops / c.bytes, Ceiling: limits.FMAPeak, Limit: limitFMAPeak}
	if limits.GemmLoop < fedAtPeak*limits.FMAPeak {
		r.Ceiling, r.Limit = limits.GemmLoop, limitGemmLoop
	}
	if memory := r.Intensity * limits.MemoryGBs / float64(threads); memory < r.Ceiling {
		r.Ceiling, r.Limit = memory, limitMemory
	}
	return r
}

// attained is the share of the ceiling: against a loop that ran beside every sample, the median of those shares.
func (r Roofline) attained(f Figures) float64 {
	switch r.Limit {
	case limitFMAPeak:
		return f.OfFMAPeak
	case limitGemmLoop:
		return f.OfGemmLoop
	}
	return f.GFlopsPerCoreSecond / r.Ceiling
}

// copiedBytes is what each thread copies to measure memory: with the copy more than its share of a last-level cache.
const copiedBytes = 32 << 20

// memoryRate returns how many 10^9 bytes a second all threads together read and write when they copy.
func memoryRate(threads int) float64 {
	copies := make([]func() int, threads)
	for i := range copies {
		to, from := make([]byte, copiedBytes), make([]byte, copiedBytes)
		for j := range from { // the system gives pages when they are written
			from[j], to[j] = byte(j), byte(j)
		}
		copies[i] = func() int { return 2 * copy(to, from) }
	}
	return float64(threads) * rate(copies, 2*ceilingTime)
}
