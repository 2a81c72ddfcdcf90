package bench

import (
	"time"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
)

// ceilingTime is how long each loop runs beside a sample.
const ceilingTime = 8 * time.Millisecond

// ceilings runs the loops and keeps what they reached.
type ceilings struct {
	peakLoops, tileLoops []func() int // one a thread

	one, peak, tiles []float64
}

// newCeilings takes the loops of T, or of bfloat16, which has no peak but the loop of tiles.
func newCeilings[T kernel.Float](threads int, dtype string) *ceilings {
	c := &ceilings{}
	for range threads {
		if dtype == bfloat16Name {
			c.peakLoops, c.tileLoops = append(c.peakLoops, cpu.PairLoop()), append(c.tileLoops, cpu.PairLoop())
			continue
		}
		c.peakLoops = append(c.peakLoops, cpu.MultiplyAdd[T])
		c.tileLoops = append(c.tileLoops, cpu.TileLoop[T]())
	}
	return c
}

// alone measures the peak of one core.
func (c *ceilings) alone() {
	c.one = append(c.one, rate(c.peakLoops[:1], ceilingTime))
}

// ceiling is what both loops reach at one moment.
type ceiling struct{ peak, tiles float64 }

// and is the mean of two moments.
func (c ceiling) and(o ceiling) ceiling {
	return ceiling{peak: (c.peak + o.peak) / 2, tiles: (c.tiles + o.tiles) / 2}
}

// sample measures both loops on all threads.
func (c *ceilings) sample() ceiling {
	s := ceiling{peak: rate(c.peakLoops, ceilingTime), tiles: rate(c.tileLoops, ceilingTime)}
	c.peak, c.tiles = append(c.peak, s.peak), append(c.tiles, s.tiles)
	return s
}

// medians measures what memory gives too.
func (c *ceilings) medians() Ceilings {
	return Ceilings{
		FMAPeakOneCore: median(c.one), FMAPeak: median(c.peak), GemmLoop: median(c.tiles), MemoryGBs: memoryRate(len(c.peakLoops)),
	}
}

// FMAPeak measures, in a moment, what so many threads together can do: 10^9 operations a second of multiply-adds on float32.
func FMAPeak(threads int) float64 {
	loops := newCeilings[float32](threads, "float32").peakLoops
	rates := make([]float64, 3)
	for i := range rates {
		rates[i] = float64(threads) * rate(loops, ceilingTime)
	}
	return median(rates)
}
