package bench

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// Options of a measurement; the zero value is a good one.
type Options struct {
	Rounds  int           // 0: 7
	Threads int           // 0: as many as the process may use
	Sample  time.Duration // shortest time a sample takes: short work is repeated until then. 0: 100 ms
}

// EnsureDefaults fills in what is zero.
func (o *Options) EnsureDefaults() {
	if o.Rounds == 0 {
		o.Rounds = 7
	}
	if o.Threads == 0 {
		o.Threads = runtime.GOMAXPROCS(0)
	}
	if o.Sample == 0 {
		o.Sample = 100 * time.Millisecond
	}
}

// Validate reports all fields that cannot be honoured, joined into one error.
func (o Options) Validate() error {
	var errs []error
	if o.Rounds < 0 {
		errs = append(errs, fmt.Errorf("bench: %d rounds: give at least 1", o.Rounds))
	}
	if n := runtime.NumCPU(); o.Threads < 0 || o.Threads > n {
		errs = append(errs, fmt.Errorf("bench: %d threads: give 1 to %d, the processors of this machine", o.Threads, n))
	}
	if o.Sample < 0 {
		errs = append(errs, fmt.Errorf("bench: samples of %v: give a positive time", o.Sample))
	}
	return errors.Join(errs...)
}

// Figures are the medians of the rounds for one pass over the whole problem.
type Figures struct {
	WallMS              float64 `json:"wall_ms"`
	GFlops              float64 `json:"gflops"`                 // 10^9 operations per second of wall time
	GFlopsPerCoreSecond float64 `json:"gflops_per_core_second"` // and per second of processor time
	OfFMAPeak           float64 `json:"of_fma_peak"`            // the latter as a share of the peak
	OfGemmLoop          float64 `json:"of_gemm_loop"`           // and of the loop of tiles
	OfCeiling           float64 `json:"of_ceiling"`             // and of the roofline's ceiling
	BusyMS              float64 `json:"busy_ms"`                // processor time: the sum of what all ranks and threads computed

	Roofline Roofline `json:"roofline"`
}

// Ceilings are medians of the loops that ran between the samples, in 10^9 operations per core-second, and what memory gives.
type Ceilings struct {
	FMAPeakOneCore float64 `json:"fma_peak_one_core"` // while the other cores idle
	FMAPeak        float64 `json:"fma_peak"`          // on as many cores as the measurements use
	GemmLoop       float64 `json:"gemm_loop"`         // on as many cores
	MemoryGBs      float64 `json:"memory_gb_per_s"`   // 10^9 bytes a second, read and written, of all these cores together
}

// pass is one thing to measure.
type pass struct {
	cost
	run func(context.Context) error
}

// measure goes through the rounds.
func measure[T kernel.Float](ctx context.Context, o Options, dtype string, passes []pass) ([]measured, Ceilings, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(o.Threads))
	c := newCeilings[T](o.Threads, dtype)
	runs := make([]int, len(passes))
	for i, p := range passes { // to warm up, and to see how long it takes
		s, err := sampleOf(ctx, p, 1)
		if err != nil {
			return nil, Ceilings{}, err
		}
		runs[i] = max(1, int(o.Sample.Seconds()/s.wall))
	}
	kept := make([]rounds, len(passes))
	for range o.Rounds {
		c.alone()
		before := c.sample()
		for i, p := range passes {
			s, err := sampleOf(ctx, p, runs[i])
			if err != nil {
				return nil, Ceilings{}, err
			}
			after := c.sample()
			kept[i].add(s, p.flops, before.and(after))
			before = after
		}
	}
	all, limits := make([]measured, len(passes)), c.medians()
	for i, p := range passes {
		all[i] = measured{kept[i].figures(p.cost, limits, o.Threads), kept[i].rates(p.flops)}
	}
	return all, limits, nil
}

// measured is what was found about one pass.
type measured struct {
	Figures
	rates []float64 // operations per second of processor time, an element a round
}

// rounds are what was found about one pass, an element a round.
type rounds struct{ wall, busy, ofPeak, ofTiles []float64 }

func (r *rounds) add(s sample, flops float64, c ceiling) {
	rate := flops / s.busy / 1e9
	r.wall, r.busy = append(r.wall, s.wall), append(r.busy, s.busy)
	r.ofPeak, r.ofTiles = append(r.ofPeak, rate/c.peak), append(r.ofTiles, rate/c.tiles)
}

func (r *rounds) rates(flops float64) []float64 {
	rates := make([]float64, len(r.busy))
	for i, busy := range r.busy {
		rates[i] = flops / busy
	}
	return rates
}

func (r *rounds) figures(work cost, c Ceilings, threads int) Figures {
	wall, busy := median(r.wall), median(r.busy)
	f := Figures{
		WallMS: 1e3 * wall, BusyMS: 1e3 * busy,
		GFlops: work.flops / wall / 1e9, GFlopsPerCoreSecond: work.flops / busy / 1e9,
		OfFMAPeak: median(r.ofPeak), OfGemmLoop: median(r.ofTiles),
		Roofline: roofline(work, c, threads),
	}
	f.OfCeiling = f.Roofline.attained(f)
	return f
}

// median of at least one value; of the two in the middle the mean.
func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
