package bench

import (
	"context"
	"sync"
	"time"
)

// sample is the time of one run, in seconds: that of a clock, and that of the process on all its processors.
type sample struct{ wall, busy float64 }

// settle is how long a stopwatch waits before it reads the processor time. The system adds up a thread's time when it sleeps, or at
// a tick some milliseconds apart, and idle threads of the Go scheduler look for work for a moment before they sleep.
const settle = 200 * time.Microsecond

// stopwatch measures from its start.
type stopwatch struct {
	wall time.Time
	busy time.Duration
}

func startWatch() stopwatch { return stopwatch{busy: processTime(), wall: time.Now()} }

// read returns the mean of the given number of runs since the start.
func (w stopwatch) read(runs int) sample {
	wall := time.Since(w.wall)
	time.Sleep(settle)
	busy := processTime() - w.busy
	mean := func(d time.Duration) float64 { return max(d, time.Nanosecond).Seconds() / float64(runs) }
	return sample{wall: mean(wall), busy: mean(busy)}
}

// sampleOf runs a pass several times.
func sampleOf(ctx context.Context, p pass, runs int) (sample, error) {
	w := startWatch()
	for range runs {
		if err := p.run(ctx); err != nil {
			return sample{}, err
		}
		if err := ctx.Err(); err != nil {
			return sample{}, context.Cause(ctx)
		}
	}
	return w.read(runs), nil
}

// loopsPerLook is how often a loop runs between two looks at the clock: a look may take as long as a fifth of a short loop.
const loopsPerLook = 32

// rate runs each loop on a goroutine of its own for about the given time, and returns 10^9 operations per core-second.
func rate(loops []func() (flops int), d time.Duration) float64 {
	done := make([]int, len(loops))
	var wg sync.WaitGroup
	w := startWatch()
	for i, loop := range loops {
		wg.Go(func() {
			for start := time.Now(); time.Since(start) < d; {
				for range loopsPerLook {
					done[i] += loop()
				}
			}
		})
	}
	wg.Wait()
	s := w.read(1)
	sum := 0
	for _, n := range done {
		sum += n
	}
	return float64(sum) / s.busy / 1e9
}
