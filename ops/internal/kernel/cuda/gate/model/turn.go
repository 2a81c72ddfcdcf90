package model

import (
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/kernel/cuda/gate/sass"
)

// Tile is a pair of tiles of one head: rows of queries and of keys, and the padded head dim.
type Tile struct {
	Queries, Keys, Dim int
	Backward           bool
}

// FMA are the multiply-adds of a pair of tiles: two products of matrices forward, five backward.
func (t Tile) FMA() int {
	products := 2
	if t.Backward {
		products = 5
	}
	return products * t.Queries * t.Keys * t.Dim
}

// l2Bytes pass between L2 and a block for a pair of tiles of 16-bit elements: forward K and V; backward Q and dO, and dQ in float32, which
// counts twice because L2 reads and writes it to add.
func (t Tile) l2Bytes() int {
	if t.Backward {
		return t.Queries * t.Dim * (2 + 2 + 2*4)
	}
	return 2 * t.Keys * t.Dim * 2
}

// Loop is a main loop: what one turn of a warp does, how many warps of a block go through it, and how many blocks an SM holds.
type Loop struct {
	Mix    sass.Mix
	Warps  int
	Blocks int
}

// Cycles of an SM that each of its resources needs for one pair of tiles of one block, if it were the only one.
type Cycles struct {
	Tensor, Shared                 float64
	Issue, Float, Integer, Special float64
	L2                             float64
	Pairs                          float64 // of tiles in one turn of the loop
}

// Cycles of a loop for one pair of tiles.
func (l Loop) Cycles(t Tile) Cycles {
	m, warps, groups := l.Mix, float64(l.Warps), float64(l.Warps)/4
	n := func(classes ...sass.Class) float64 { return float64(m.Sum(classes...)) * warps * 32 }
	fma, rate := float64(m.FMA)*warps, WGMMARate*MMAShare
	if m.Count[sass.HGMMA] > 0 {
		fma, rate = float64(m.FMA)*groups, WGMMARate
	}
	float := n(sass.FFMA, sass.FADD, sass.FMUL)
	c := Cycles{
		Pairs:   fma / float64(t.FMA()),
		Tensor:  fma / rate,
		Shared:  (float64(m.OperandBytes)*groups+float64(m.SharedBytes)*warps)/sharedBytes + n(sass.Shuffle)/shuffleLanes,
		Issue:   float64(m.Issued) * warps / schedulers,
		Float:   float/floatLanes + n(sass.IMAD)/imadLanes,
		Integer: n(sass.ALU, sass.Minmax, sass.Pack) / aluLanes,
		Special: n(sass.Exp2, sass.Log2, sass.Reciprocal, sass.Special) / specialLanes,
	}
	for _, x := range []*float64{&c.Tensor, &c.Shared, &c.Issue, &c.Float, &c.Integer, &c.Special} {
		*x /= c.Pairs
	}
	c.L2 = float64(t.l2Bytes()) / (L2Rate / SMs / Clock)
	return c
}

// ordinary is the busiest of the units besides tensor cores and memories.
func (c Cycles) ordinary() float64 { return max(c.Issue, c.Float, c.Integer, c.Special) }

// Pair is how many cycles an SM takes for a pair of tiles of one block.
func (c Cycles) Pair(l Loop) float64 {
	p := Overlap
	if l.Warps*l.Blocks <= schedulers {
		p = alone
	}
	sum := math.Pow(c.Tensor, p) + math.Pow(c.Shared, p) + math.Pow(c.ordinary(), p)
	return max(math.Pow(sum, 1/p), c.L2)
}

// Bound names what holds a loop up most: L2 if that alone decides, else the largest of the resources that share the time.
func (c Cycles) Bound(l Loop) string {
	if c.L2 >= c.Pair(l) {
		return "L2"
	}
	name, most := "tensor", c.Tensor
	for _, r := range []struct {
		name   string
		cycles float64
	}{{"shared", c.Shared}, {"issue", c.Issue}, {"float", c.Float}, {"integer", c.Integer}, {"special", c.Special}} {
		if r.cycles > most {
			name, most = r.name, r.cycles
		}
	}
	return name
}

// Steady is the rate in TFLOP/s at which pairs of tiles are done, were there only those.
func (c Cycles) Steady(t Tile, l Loop) float64 {
	return 2 * float64(t.FMA()) * SMs * Clock / c.Pair(l) / 1e12
}
