package cpu

import (
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

func siftGeneric[T kernel.Float](x []T, ld, rows, width int, bits []uint64, first int, value T) {
	for r := range rows {
		row, seen := x[r*ld:][:width], bits[r]>>first
		for j := range row {
			if seen>>j&1 == 0 {
				row[j] = value
			}
		}
	}
}

func biasGeneric[T kernel.Float](x []T, ld, rows, width int, factor T, queries, keys []T, slope T) {
	for r := range rows {
		row, key := x[r*ld:][:width], keys[r]
		for j, v := range row {
			row[j] = factor*v - slope*T(math.Abs(float64(queries[j]-key)))
		}
	}
}

func softcapGeneric[T kernel.Float](x, tanh []T, ld, rows, width int, factor, limit T) {
	for r := range rows {
		row, kept := x[r*ld:][:width], tanh[r*ld:][:width]
		for j, v := range row {
			t := T(math.Tanh(float64(factor * v)))
			kept[j] = t
			row[j] = limit * t
		}
	}
}

func flattenGeneric[T kernel.Float](dp, tanh []T, ld, rows, width int, delta []T) {
	for r := range rows {
		row, t := dp[r*ld:][:width], tanh[r*ld:][:width]
		for j, v := range row {
			row[j] = delta[j] + (v-delta[j])*(1-t[j]*t[j])
		}
	}
}

func drawGeneric(bits []uint64, queries, keys []uint32, threshold uint32) {
	for r, key := range keys {
		var word uint64
		for j, query := range queries {
			if kernel.Kept(query, key, threshold) {
				word |= 1 << j
			}
		}
		bits[r] = word
	}
}
