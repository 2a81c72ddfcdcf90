// Package overlap measures what a hop round the ring costs, and how much of it hides behind compute.
//
//	transfer   Shift, Wait                    a hop alone
//	compute    multiply-adds                  a share of the transfer, calibrated in the same run
//	hop        Shift, multiply-adds, Wait     without overlap the sum of the two, at best the longer one
//
// A round measures the three in turn, each behind a barrier; its times are those of the slowest rank. What arrives is sent on, as K and
// V are, so that a rank has its own block again after as many hops as there are ranks.
//
// Compute is float32 multiply-adds over 32 KiB a thread, in plain Go, by as many threads as it is told: as attention does, it keeps
// the processors busy and leaves memory to the transfer. Threads that an engine needs to make progress have to share with it, as in
// a training.
package overlap

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/trace"
)

// Config of a measurement; the zero value is a good one.
type Config struct {
	MiB     []int           // sizes of the blocks; nil: 1, 4, 16, 64
	Compute float64         // time of compute over that of a transfer; 0: 0.75
	Rounds  int             // 0: 9
	Threads int             // that a rank computes on; 0: 1
	Trace   *trace.Recorder // gets a hop of each size, of all ranks, in the process of rank 0; nil: nobody does
}

// EnsureDefaults fills in what is zero.
func (c *Config) EnsureDefaults() {
	if len(c.MiB) == 0 {
		c.MiB = []int{1, 4, 16, 64}
	}
	if c.Compute == 0 {
		c.Compute = 0.75
	}
	if c.Rounds == 0 {
		c.Rounds = 9
	}
	if c.Threads == 0 {
		c.Threads = 1
	}
}

// largest block in MiB: messages of 2 GiB and more are another matter.
const largest = 1024

// Validate reports all fields that cannot be honoured, joined into one error.
func (c Config) Validate() error {
	var errs []error
	for _, size := range c.MiB {
		if size < 1 || size > largest {
			errs = append(errs, fmt.Errorf("overlap: a block of %d MiB: give 1 to %d", size, largest))
		}
	}
	if !(c.Compute >= 0 && c.Compute <= 100) {
		errs = append(errs, fmt.Errorf("overlap: compute of %v times the transfer: give a positive number, such as 0.75", c.Compute))
	}
	if c.Rounds < 0 {
		errs = append(errs, fmt.Errorf("overlap: %d rounds: give at least 1", c.Rounds))
	}
	if c.Threads < 0 {
		errs = append(errs, fmt.Errorf("overlap: %d threads: give at least 1", c.Threads))
	}
	return errors.Join(errs...)
}

// Result is what was found for one size. Times are medians of the rounds, or their minima.
type Result struct {
	MiB          int     `json:"mib"`
	Bytes        int64   `json:"bytes"`
	TransferMS   float64 `json:"transfer_ms"`
	ComputeMS    float64 `json:"compute_ms"`
	HopMS        float64 `json:"hop_ms"`
	HopMin       float64 `json:"hop_min_ms"`
	TransferMin  float64 `json:"transfer_min_ms"`
	ComputeMin   float64 `json:"compute_min_ms"`
	Ratio        float64 `json:"ratio"`         // hop over the longer one of compute and transfer: 1 is full overlap
	RatioMin     float64 `json:"ratio_min"`     // the same of the minima
	GBsPerSecond float64 `json:"gb_per_second"` // 10^9 bytes a second that a rank sends, and receives, in a transfer
	Hidden       float64 `json:"hidden"`        // share of the shorter one that the longer one hides
}

// Measure goes through the sizes. All ranks of c call it with the same config, and get the same results.
func Measure(ctx context.Context, c *dist.Comm, cfg Config) ([]Result, error) {
	cfg.EnsureDefaults()
	return measure(ctx, c, cfg, newWork)
}

// measure computes by what start gives for a number of threads: a function that does so many units of work.
func measure(ctx context.Context, c *dist.Comm, cfg Config, start func(threads int) func(units int)) ([]Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if c.Size() < 2 {
		return nil, fmt.Errorf("overlap: a ring of %d rank has no hops: give 2 or more", c.Size())
	}
	m := &meter{c: c, cfg: cfg, work: start(cfg.Threads)}
	var results []Result
	for _, size := range cfg.MiB {
		r, err := m.size(ctx, size)
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	return results, nil
}

// meter is a rank's side of the measurement.
type meter struct {
	c   *dist.Comm
	cfg Config

	block []float32 // its first and last number are the rank that it began on
	hops  int       // so far, of this block
	work  func(units int)
	units int // that take the wanted time
}

func (m *meter) size(ctx context.Context, mib int) (Result, error) {
	m.block, m.hops = newBlock(mib, m.c.Rank()), 0
	if err := m.calibrate(ctx); err != nil {
		return Result{}, err
	}
	var times [3][]float64 // transfer, compute, hop
	for range m.cfg.Rounds {
		for i, f := range []func(context.Context) error{m.transfer, m.compute, m.hop} {
			t, err := m.time(ctx, f)
			if err != nil {
				return Result{}, err
			}
			times[i] = append(times[i], t)
		}
	}
	for i := range times {
		var err error
		if times[i], err = slowest(ctx, m.c, times[i]); err != nil {
			return Result{}, err
		}
	}
	if err := m.trace(ctx, mib); err != nil {
		return Result{}, err
	}
	return result(mib, times[0], times[1], times[2]), nil
}

// newBlock is written throughout, so that its pages are there.
func newBlock(mib, rank int) []float32 {
	block := make([]float32, mib<<20/4)
	for i := range block {
		block[i] = float32(rank)
	}
	return block
}

// transfer is a hop alone.
func (m *meter) transfer(ctx context.Context) error { return m.arrived(ctx, m.shift()) }

// compute is as much work as goes with a hop.
func (m *meter) compute(context.Context) error {
	m.work(m.units)
	return nil
}

// hop is both at once.
func (m *meter) hop(ctx context.Context) error {
	next := m.shift()
	m.work(m.units)
	return m.arrived(ctx, next)
}

func (m *meter) shift() *dist.Pending[float32] {
	return dist.Shift(m.c, dist.Move{Kind: dist.ForwardKV, Tensors: 1, Hop: m.hops, Step: 1}, m.block, len(m.block))
}

// arrived takes the block of the rank before, and looks whether it is the right one.
func (m *meter) arrived(ctx context.Context, next *dist.Pending[float32]) (err error) {
	if m.block, err = next.Wait(ctx); err != nil {
		return err
	}
	m.hops++
	n := m.c.Size()
	want := float32(((m.c.Rank()-m.hops)%n + n) % n)
	if first, last := m.block[0], m.block[len(m.block)-1]; first != want || last != want {
		return fmt.Errorf("overlap: rank %d: after %d hops the block begins with %v and ends with %v, those of rank %v were to come: the engine mixes messages up", m.c.Rank(), m.hops, first, last, want)
	}
	return nil
}

// time takes f, which all ranks begin together, in seconds.
func (m *meter) time(ctx context.Context, f func(context.Context) error) (float64, error) {
	if err := dist.Barrier(ctx, m.c); err != nil {
		return 0, err
	}
	start := time.Now()
	err := f(ctx)
	return max(time.Since(start), 1).Seconds(), err // a clock may be coarse, and ratios want a divisor
}

// slowest gives, for each time, that of the rank that took longest.
func slowest(ctx context.Context, c *dist.Comm, times []float64) ([]float64, error) {
	all, err := dist.AllGather(ctx, c, times)
	if err != nil {
		return nil, err
	}
	longest := make([]float64, len(times))
	for _, those := range all {
		for i, t := range those {
			longest[i] = max(longest[i], t)
		}
	}
	return longest, nil
}
