package cpu

import (
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// ExpSum takes a row as a tile this wide; expRows of its rows are summed in T before float64 takes over.
const (
	expLanes = 64
	expRows  = 64
)

// ExpSum replaces x by e^(x-largest), with largest that of x, and returns largest and the sum. A NaN stays one, and is in the sum.
// Results under the smallest normal number are 0.
func ExpSum[T kernel.Float](x []T) (largest T, sum float64) {
	memory := borrow[T](3 * expLanes)
	defer memory.giveBack()
	lanes, zeros, sums := memory.data[:expLanes], memory.data[expLanes:2*expLanes], memory.data[2*expLanes:3*expLanes]
	// 1. The largest of each lane, and of all.
	setAll(lanes, T(math.Inf(-1)))
	eachTile(x, len(x), func(x []T, p tilePart) { columnMax(x, p, lanes) })
	largest = T(math.Inf(-1))
	for _, high := range lanes {
		largest = max(largest, high)
	}
	// 2. Exponentials, base 2.
	setAll(lanes, largest)
	clear(zeros)
	eachTile(x, expRows*expLanes, func(x []T, p tilePart) {
		clear(sums)
		expSub(x, p, lanes, math.Log2E, zeros, sums)
		for _, s := range sums {
			sum += float64(s)
		}
	})
	return largest, sum
}

// eachTile calls f for tiles of at most that many elements, in order, that make up x; the last one is a row with what is left.
func eachTile[T kernel.Float](x []T, most int, f func(x []T, p tilePart)) {
	for len(x) > 0 {
		n := min(len(x), most)
		p := tilePart{ld: expLanes, rows: n / expLanes, width: expLanes}
		if p.rows == 0 {
			p = tilePart{ld: n, rows: 1, width: n}
		}
		n = p.rows * p.width
		f(x[:n], p)
		x = x[n:]
	}
}

func setAll[T kernel.Float](x []T, value T) {
	for i := range x {
		x[i] = value
	}
}
