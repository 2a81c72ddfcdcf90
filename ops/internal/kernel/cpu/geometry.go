package cpu

import (
	"math"
	"slices"
	"sync"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/meter"
)

// sight sums up what a panel of queries sees by one layer of the mask: the bounds of their intervals [low, high).
type sight struct {
	lowFrom, lowTo   int // the smallest and the largest low
	highFrom, highTo int
	rising           bool // both bounds rise from query to query
}

// geometry is what all tasks of one call share: the global positions of rows and keys, and what every query and every panel sees.
type geometry struct {
	kernel.Block
	rows, cols []int
	rising     bool // the keys' positions rise
	panels     int
	layers     []layer
	runs       []runSpan // by panel; backward only
	group      int       // query heads to a KV head
	unit       float64   // scores times unit are in natural units
	exponent   float64   // log2(e)·unit: P = 2^(exponent·(score - reference))
}

// layer is one layer of the mask: the keys [low, high) of each query, and the sights of the panels.
type layer struct {
	low, high []int
	sights    []sight
}

// geometries keeps the slices of past calls: over a ring they would add up to T positions a rank and call.
var geometries = sync.Pool{New: func() any { return new(geometry) }}

// newGeometry returns the geometry of a call; release gives it back.
func newGeometry(b kernel.Block) *geometry {
	g := geometries.Get().(*geometry)
	g.Block, g.group, g.unit = b, b.Heads/max(1, b.KVHeads), unitOf(b)
	const least = 1e-30 // for scale 0: all visible scores give 2^0, and a hidden -Inf still 2^-Inf
	g.exponent = max(g.unit*math.Log2E, least)
	g.rows, g.cols = appendPositions(g.rows[:0], b.Rows), appendPositions(g.cols[:0], b.Cols)
	g.panels = ceilDiv(len(g.rows), panelRows)
	g.rising = slices.IsSorted(g.cols)
	g.look()
	return g
}

// unitOf is what a score as the kernels hold it is to be multiplied by: |scale| if it is a plain product, 1 if a softcap or a bias has
// been applied to it.
func unitOf(b kernel.Block) float64 {
	if b.Softcap != 0 || b.Slopes != nil {
		return 1
	}
	return math.Abs(b.Scale)
}

// plain reports whether scores are products and nothing else.
func (g *geometry) plain() bool { return g.Softcap == 0 && g.Slopes == nil }

func (g *geometry) drops() bool { return g.Dropout.Threshold != 0 }

// look asks the mask what the queries see.
func (g *geometry) look() {
	n := g.Mask.Layers()
	if cap(g.layers) < n {
		g.layers = append(g.layers[:cap(g.layers)], make([]layer, n-cap(g.layers))...)
	}
	g.layers = g.layers[:n]
	for i := range g.layers {
		l := &g.layers[i]
		l.low, l.high = resize(l.low, len(g.rows)), resize(l.high, len(g.rows))
		g.Mask.Intervals(i, g.rows, l.low, l.high)
		l.sights = l.sights[:0]
		for panel := range g.panels {
			from, to := panel*panelRows, min((panel+1)*panelRows, len(g.rows))
			l.sights = append(l.sights, sightOf(l.low[from:to], l.high[from:to]))
		}
	}
}

func resize(x []int, n int) []int {
	if cap(x) < n {
		return make([]int, n)
	}
	return x[:n]
}

func sightOf(low, high []int) sight {
	s := sight{lowFrom: math.MaxInt, lowTo: math.MinInt, highFrom: math.MaxInt, highTo: math.MinInt, rising: true}
	for j, lo := range low {
		hi := high[j]
		s.rising = s.rising && (j == 0 || lo >= low[j-1] && hi >= high[j-1])
		if lo >= hi { // sees nothing: the panel is never whole
			s.lowTo, s.highFrom = math.MaxInt, math.MinInt
			continue
		}
		s.lowFrom, s.lowTo = min(s.lowFrom, lo), max(s.lowTo, lo)
		s.highFrom, s.highTo = min(s.highFrom, hi), max(s.highTo, hi)
	}
	return s
}

func (g *geometry) release() {
	g.Block = kernel.Block{}
	geometries.Put(g)
}

func (g *geometry) empty() bool { return len(g.rows) == 0 || len(g.cols) == 0 || g.Heads == 0 }

// work is the multiply-adds of one product of all queries by all keys.
func (g *geometry) work() int { return g.Heads * len(g.rows) * len(g.cols) * (g.Dim + g.ValueDim) }

// worked tells the meter of a panel that is done: the products of so many vectors by so many, of D and of Dv elements.
func (g *geometry) worked(vectors int) { meter.Worked(vectors * (g.Dim + g.ValueDim)) }

func appendPositions(p []int, segments []kernel.Segment) []int {
	for _, s := range segments {
		for i := range s.Count {
			p = append(p, s.Start+i*s.Stride)
		}
	}
	return p
}
