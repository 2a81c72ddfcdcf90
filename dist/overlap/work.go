package overlap

import (
	"context"
	"math"
	"slices"
	"sync"
)

const (
	blockFloats = 8 << 10 // 32 KiB: stays in the first-level cache
	unitFloats  = 512     // multiply-adds of a unit of work: well under a microsecond
)

// worker is a thread's compute.
type worker struct {
	block []float32
	at    int     // where the next unit begins
	sum   float32 // kept, so that nothing is optimised away
}

// newWork gives a function that has every thread do so many units.
func newWork(threads int) func(units int) {
	workers := make([]worker, threads)
	for i := range workers {
		block := make([]float32, blockFloats)
		for j := range block {
			block[j] = float32(j%7) / 8
		}
		workers[i].block = block
	}
	return func(units int) {
		var others sync.WaitGroup
		for i := 1; i < threads; i++ {
			others.Go(func() { workers[i].do(units) })
		}
		workers[0].do(units)
		others.Wait()
	}
}

// do is four chains of multiply-adds, so that the latency of one does not matter.
func (w *worker) do(units int) {
	var a, b, c, d float32
	for range units {
		x := w.block[w.at : w.at+unitFloats]
		for i := 0; i < unitFloats; i += 4 {
			a = a*0.5 + x[i]
			b = b*0.5 + x[i+1]
			c = c*0.5 + x[i+2]
			d = d*0.5 + x[i+3]
		}
		w.at = (w.at + unitFloats) % blockFloats
	}
	w.sum = a + b + c + d
}

const (
	warmUps     = 2 // transfers that make connections and buffers
	samples     = 4 // whose shortest counts: other programs only ever add
	mostUnits   = 1 << 34
	nearTarget  = 0.25 // of the wanted time: enough to scale from
	closeBy     = 0.05 // of the wanted time: enough
	corrections = 5
)

// calibrate warms up and finds out how many units take the wanted share of a transfer, on all ranks at once: they share processors as
// in the rounds. The ranks decide by agreed times, so all do the same.
func (m *meter) calibrate(ctx context.Context) error {
	transfer, err := m.sample(ctx, warmUps, m.transfer)
	if err != nil {
		return err
	}
	wanted := m.cfg.Compute * transfer
	for m.units = 1; ; m.units *= 2 {
		taken, err := m.sample(ctx, 0, m.compute)
		if err != nil {
			return err
		}
		if taken >= nearTarget*wanted || m.units >= mostUnits {
			break
		}
	}
	for range corrections {
		taken, err := m.sample(ctx, 0, m.compute)
		if err != nil {
			return err
		}
		if math.Abs(taken-wanted) < closeBy*wanted {
			return nil
		}
		m.units = max(1, int(math.Round(float64(m.units)*wanted/taken)))
	}
	return nil
}

// sample is the shortest time of f, each that of the slowest rank.
func (m *meter) sample(ctx context.Context, warm int, f func(context.Context) error) (float64, error) {
	var times []float64
	for range warm + samples {
		t, err := m.time(ctx, f)
		if err != nil {
			return 0, err
		}
		times = append(times, t)
	}
	times, err := slowest(ctx, m.c, times[warm:])
	if err != nil {
		return 0, err
	}
	return slices.Min(times), nil
}
