package kernel

import (
	"fmt"
	"math"
	"math/bits"
	"testing"
)

// side is the number of queries and of keys in the statistics.
const side = 512

// origin is what keys of dropout are made from.
type origin struct {
	seed, step  uint64
	layer, head int
}

func (o origin) key() uint64 { return DropoutKey(o.seed, o.step, o.layer, o.head) }

// origins are where the statistics are taken, zeros first.
var origins = []origin{{}, {1, 0, 0, 0}, {7, 100, 31, 15}, {math.MaxUint64, 1 << 40, 1, 3}}

// pairs says which of side x side pairs from a position on are kept; [query][key].
func pairs(key uint64, from int, threshold uint32) *[side][side]bool {
	var kept [side][side]bool
	for q := range side {
		for k := range side {
			kept[q][k] = Kept(QueryWord(key, from+q), KeyWord(key, from+k), threshold)
		}
	}
	return &kept
}

// eachDropout visits probabilities and origins.
func eachDropout(t *testing.T, visit func(t *testing.T, p float64, o origin)) {
	for _, p := range []float64{0.05, 0.1, 0.5, 0.9} {
		for i, o := range origins {
			t.Run(fmt.Sprintf("p=%v/origin %d", p, i), func(t *testing.T) { visit(t, p, o) })
		}
	}
}

func TestDropoutDropsAtTheRateAskedFor(t *testing.T) {
	eachDropout(t, func(t *testing.T, p float64, o origin) {
		var total float64
		var ofQuery, ofKey [side]float64
		for q, row := range pairs(o.key(), 1<<20, NewThreshold(p)) {
			for k, kept := range row {
				if !kept {
					total++
					ofQuery[q]++
					ofKey[k]++
				}
			}
		}
		if z := (total - side*side*p) / math.Sqrt(side*side*p*(1-p)); math.Abs(z) > 4 {
			t.Errorf("%v of %d pairs are dropped: %.1f sigma off", total, side*side, z)
		}
		if z := chiSquare(ofQuery[:], p); math.Abs(z) > 4 {
			t.Errorf("queries' rates are spread %.1f sigma more than they should", z)
		}
		if z := chiSquare(ofKey[:], p); math.Abs(z) > 4 {
			t.Errorf("keys' rates are spread %.1f sigma more than they should", z)
		}
	})
}

// chiSquare is Pearson's statistic of counts out of side each, in standard deviations from its mean.
func chiSquare(counts []float64, p float64) float64 {
	sum, n := 0.0, float64(len(counts))
	for _, c := range counts {
		d := c - side*p
		sum += d * d / (side * p * (1 - p))
	}
	return (sum - n) / math.Sqrt(2*n)
}

func TestDropoutOfNeighboursIsUncorrelated(t *testing.T) {
	eachDropout(t, func(t *testing.T, p float64, o origin) {
		const from = 4096
		threshold := NewThreshold(p)
		a := pairs(o.key(), from, threshold)
		for name, b := range map[string]*[side][side]bool{
			"seed":      pairs(origin{o.seed + 1, o.step, o.layer, o.head}.key(), from, threshold),
			"step":      pairs(origin{o.seed, o.step + 1, o.layer, o.head}.key(), from, threshold),
			"layer":     pairs(origin{o.seed, o.step, o.layer + 1, o.head}.key(), from, threshold),
			"head":      pairs(origin{o.seed, o.step, o.layer, o.head + 1}.key(), from, threshold),
			"diagonal":  pairs(o.key(), from+1, threshold),
			"far block": pairs(o.key(), from+side, threshold),
			"query":     shifted(a, 1, 0),
			"key":       shifted(a, 0, 1),
			"transpose": transposed(a),
		} {
			if z := correlation(a, b, p); math.Abs(z) > 4 {
				t.Errorf("%s: correlation %.1f sigma", name, z)
			}
		}
	})
}

// correlation of two masks in standard deviations.
func correlation(a, b *[side][side]bool, p float64) float64 {
	value := map[bool]float64{true: p, false: p - 1} // mean 0
	sum := 0.0
	for q := range a {
		for k := range a[q] {
			sum += value[a[q][k]] * value[b[q][k]]
		}
	}
	return sum / (side * p * (1 - p))
}

// shifted wraps around.
func shifted(a *[side][side]bool, queries, keys int) *[side][side]bool {
	var b [side][side]bool
	for q := range a {
		for k := range a {
			b[q][k] = a[(q+queries)%side][(k+keys)%side]
		}
	}
	return &b
}

func transposed(a *[side][side]bool) *[side][side]bool {
	var b [side][side]bool
	for q := range a {
		for k := range a {
			b[q][k] = a[k][q]
		}
	}
	return &b
}

func TestDropoutWordsDifferInHalfTheirBits(t *testing.T) {
	for i, o := range origins {
		key, other := o.key(), origin{o.seed, o.step, o.layer, o.head + 1}.key()
		for name, pair := range map[string]func(x int) (a, b uint32){
			"query and key":        func(x int) (a, b uint32) { return QueryWord(key, x), KeyWord(key, x) },
			"queries side by side": func(x int) (a, b uint32) { return QueryWord(key, x), QueryWord(key, x+1) },
			"keys side by side":    func(x int) (a, b uint32) { return KeyWord(key, x), KeyWord(key, x+1) },
			"queries of two heads": func(x int) (a, b uint32) { return QueryWord(key, x), QueryWord(other, x) },
			"keys of two heads":    func(x int) (a, b uint32) { return KeyWord(key, x), KeyWord(other, x) },
		} {
			const n = 4096
			differing := 0
			for x := range n {
				a, b := pair(x)
				differing += bits.OnesCount32(a ^ b)
			}
			if z := (float64(differing) - 16*n) / math.Sqrt(8*n); math.Abs(z) > 4 {
				t.Errorf("origin %d, %s: %d of %d bits differ, %.1f sigma off", i, name, differing, 32*n, z)
			}
		}
	}
}

func TestDropoutKeysDependOnEveryInputAndItsPlace(t *testing.T) {
	seen := map[uint64]origin{}
	for i := range 6 * 6 * 6 * 6 {
		o := origin{uint64(i % 6), uint64(i / 6 % 6), i / 36 % 6, i / 216}
		if before, ok := seen[o.key()]; ok {
			t.Fatalf("%+v and %+v have the same key", before, o)
		}
		seen[o.key()] = o
	}
}

func TestThresholdRoundsAndSaturates(t *testing.T) {
	for p, want := range map[float64]uint32{
		0: 0, -1: 0, 0x1p-34: 0, 0x1p-33: 1, 0x1p-32: 1, 0.5: 1 << 31, 0.1: 429496730, 1: math.MaxUint32, 1 - 0x1p-40: math.MaxUint32, 7: math.MaxUint32,
	} {
		if got := NewThreshold(p); got != want {
			t.Errorf("NewThreshold(%v) = %d, want %d", p, got, want)
		}
	}
	if got := NewThreshold(math.NaN()); got != 0 {
		t.Errorf("NewThreshold(NaN) = %d, want 0", got)
	}
}

func TestScaleKeepsTheExpectation(t *testing.T) {
	for threshold, want := range map[uint32]float64{0: 1, 1 << 31: 2, 3 << 30: 4} {
		if got := (Dropout{Threshold: threshold}).Scale(); got != want {
			t.Errorf("scale of threshold %#x = %v, want %v", threshold, got, want)
		}
	}
}

func TestZeroThresholdDropsNothing(t *testing.T) {
	for _, row := range pairs(origin{}.key(), 0, 0) {
		for _, kept := range row {
			if !kept {
				t.Fatal("a pair was dropped")
			}
		}
	}
}

// TestDropoutNeverChanges holds masks fixed from release to release, so that a run can be repeated by a later one. The numbers
// come from the definition in another language, Python.
func TestDropoutNeverChanges(t *testing.T) {
	zero, key := DropoutKey(0, 0, 0, 0), DropoutKey(42, 1000, 3, 7)
	for name, pair := range map[string][2]uint64{
		"zero key":             {zero, 0x2130748aaac80268},
		"key":                  {key, 0x20330135e520936d},
		"query word":           {uint64(QueryWord(key, 0)), 0x74fa6ad6},
		"far query word":       {uint64(QueryWord(key, 1<<30)), 0x28f9330e},
		"key word":             {uint64(KeyWord(key, 0)), 0x77c942cc},
		"far key word":         {uint64(KeyWord(key, 1<<30)), 0xf3ba5485},
		"pairs at 0 of 8x8":    {maskWord(key, 0, NewThreshold(0.5)), 0x80962eea47512f3b},
		"pairs at 9000 of 8x8": {maskWord(key, 9000, NewThreshold(0.1)), 0xfbf7f7c7ffffafbd},
	} {
		if got, want := pair[0], pair[1]; got != want {
			t.Errorf("%s: %#x, want %#x", name, got, want)
		}
	}
}

// maskWord is 8 x 8 pairs as bits, the keys of the first query lowest.
func maskWord(key uint64, from int, threshold uint32) (word uint64) {
	for i := range 64 {
		if Kept(QueryWord(key, from+i/8), KeyWord(key, from+i%8), threshold) {
			word |= 1 << i
		}
	}
	return word
}
