package cuda

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/device/sim"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
	"github.com/ringgrad/ringgrad/ops/mask"
)

// trial is a small problem that goes through the ways of a kernel: two blocks of keys, so that there is a carry; tiles that are full,
// partial and empty, enough of them to use every place in shared memory again; queries that see nothing at first, and keys that
// nobody sees; queries and keys that are no multiple of a tile; query heads that share keys; masks of one and of two layers.
type trial struct {
	blocks         []kernel.Block // the same queries
	q, dOut        []float32
	k, v           [][]float32 // by block
	queries, heads int
}

// kind is what sort of trial it is.
type kind struct {
	dim, valueDim int
	extras        bool    // softcap, ALiBi and dropout
	layered       bool    // a mask of two layers
	logits        float64 // their standard deviation; 0 is 1
}

// newTrial lets 150 queries see 160 keys, of which the last come behind all queries, and then the 450 before those.
func newTrial(k kind) trial {
	b := kernel.Block{
		Heads: 2, KVHeads: 1, Dim: k.dim, ValueDim: k.valueDim, Scale: 1 / math.Sqrt(float64(k.dim)), Mask: mask.CausalOrder(),
		Rows: []kernel.Segment{{Start: 330, Stride: 1, Count: 150}},
	}
	if k.layered {
		b.Mask = layered()
	}
	if k.extras {
		b.Softcap, b.Slopes = 3, []float64{0.03, 0.01}
		b.Dropout = kernel.Dropout{Threshold: kernel.NewThreshold(0.2), Keys: []uint64{7, 8}}
	}
	late, early := b, b
	late.Cols, early.Cols = []kernel.Segment{{Start: 470, Stride: 1, Count: 160}}, []kernel.Segment{{Start: 20, Stride: 1, Count: 450}}
	t := trial{blocks: []kernel.Block{late, early}, queries: kernel.Len(b.Rows), heads: b.Heads}
	r := rand.New(rand.NewPCG(1, uint64(k.dim)))
	normal := func(n int, std float64) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(std * r.NormFloat64())
			x[i] = math.Float32frombits(math.Float32bits(x[i]) &^ 0xffff) // a number of bfloat16, and all but always of float16
		}
		return x
	}
	t.q, t.dOut = normal(b.Heads*t.queries*k.dim, max(k.logits, 1)), normal(b.Heads*t.queries*k.valueDim, 1)
	for _, b := range t.blocks {
		n := b.KVHeads * kernel.Len(b.Cols)
		t.k, t.v = append(t.k, normal(n*k.dim, 1)), append(t.v, normal(n*k.valueDim, 1))
	}
	return t
}

// layered is causal order with a hole, in two layers.
func layered() *mask.Mask {
	m, err := mask.New(mask.Spec{Causal: true, Rectangles: []mask.Rectangle{
		{QueryTo: 480, KeyTo: 205}, {QueryTo: 480, KeyFrom: 230, KeyTo: 480, Kind: mask.Causal},
	}}, 630)
	if err != nil {
		panic(err)
	}
	return m
}

// answers are all results of a trial, by name.
type answers[T kernel.Float] struct {
	names  []string
	arrays [][]T
}

// converted is x in another type.
func converted[T kernel.Float](x []float32) []T {
	out := make([]T, len(x))
	for i, a := range x {
		out[i] = T(a)
	}
	return out
}

// packedBy is keys or values as a kernel takes them.
func packedBy[T kernel.Float](k kernel.Attention[T], x []T) []T {
	p, ok := k.(kernel.Packer[T])
	if !ok {
		return x
	}
	out := make([]T, p.PackedLen(len(x)))
	p.Pack(out, x)
	return out
}

// solve lets a kernel do a trial: forward over both blocks, and backward over both, into fresh gradients and into others.
func solve[T kernel.Float](t trial, a kernel.Attention[T]) (out answers[T]) {
	n, b := t.heads*t.queries, t.blocks[0]
	q, dOut := converted[T](t.q), converted[T](t.dOut)
	c := kernel.Carry[T]{O: make([]T, n*b.ValueDim), M: make([]T, n), L: make([]T, n), Low: make([]T, n)}
	c.Reset()
	var ks, vs [][]T
	for i, b := range t.blocks {
		ks, vs = append(ks, packedBy(a, converted[T](t.k[i]))), append(vs, packedBy(a, converted[T](t.v[i])))
		a.Forward(c, q, ks[i], vs[i], b)
	}
	o, lse, delta, dq := make([]T, n*b.ValueDim), make([]T, n), make([]T, n), make([]T, n*b.Dim)
	a.Finish(c, o, lse, b)
	a.Delta(o, dOut, delta, b)
	out.add("out", o)
	out.add("lse", lse)
	for i, b := range t.blocks {
		g := kernel.Gradients[T]{DQ: dq, DK: make([]T, len(t.k[i])), DV: make([]T, len(t.v[i])), Fresh: i == 0}
		a.Backward(g, kernel.Inputs[T]{Q: q, K: ks[i], V: vs[i], DOut: dOut, LSE: lse, LSELow: c.Low, Delta: delta}, b)
		out.add(fmt.Sprintf("dk of block %d", i), g.DK)
		out.add(fmt.Sprintf("dv of block %d", i), g.DV)
	}
	out.add("dq", dq)
	return out
}

func (a *answers[T]) add(name string, x []T) {
	a.names, a.arrays = append(a.names, name), append(a.arrays, x)
}

// expected is a trial solved in float64 by the kernels of the CPU.
func expected(t trial) answers[float64] { return solve(t, cpu.New[float64]()) }

// nearness is how far a format's results may be from those of float64, relative to the largest.
var nearness = map[Format]float64{Float32: 4e-6, BFloat16: 0.03, Float16: 0.004}

// compare returns the first thing that is wrong with answers.
func compare(got answers[float32], want answers[float64], f Format) error {
	for i, name := range want.names {
		largest := 0.0
		for _, w := range want.arrays[i] {
			largest = max(largest, math.Abs(w))
		}
		for at, w := range want.arrays[i] {
			if d := math.Abs(float64(got.arrays[i][at]) - w); !(d <= nearness[f]*largest) {
				return fmt.Errorf("%s[%d] is %v, want %v", name, at, got.arrays[i][at], w)
			}
		}
	}
	return nil
}

func (a answers[T]) sameBits(o answers[T]) error {
	for i, name := range a.names {
		if !bytes.Equal(rawBytes(a.arrays[i]), rawBytes(o.arrays[i])) {
			return fmt.Errorf("%s differs", name)
		}
	}
	return nil
}

// narrowSets are the sets of width 64, which the interpreter runs fastest, and with all they have in common with the wide ones.
func narrowSets() (some []made) {
	for _, m := range sets() {
		if m.width == 64 {
			some = append(some, m)
		}
	}
	return some
}

// schedules are orders in which a device may run a launch.
func schedules(seed uint64) []sim.Config {
	return []sim.Config{{Seed: seed}, {Seed: seed, Resident: 3}, {Seed: seed, Adversarial: true, Resident: 2}}
}

// TestBitsRepeatWhateverTheSchedule runs blocks of threads one after the other and side by side, and warps in random orders.
func TestBitsRepeatWhateverTheSchedule(t *testing.T) {
	w := &workshop{t: t}
	for i, m := range onHand(t, narrowSets()) {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			p := newTrial(kind{dim: 48, valueDim: 64, extras: i%2 == 1, layered: i%3 == 0})
			var first answers[float32]
			for n, c := range schedules(uint64(i)) {
				a := w.kernel(m, c, Options{})
				got := solve(p, a)
				if err := a.(kernel.Fallible).Err(); err != nil {
					t.Fatal(err)
				}
				if n == 0 {
					first = got
					if err := compare(got, expected(p), m.format); err != nil {
						t.Error(err)
					}
				}
				if err := first.sameBits(got); err != nil {
					t.Errorf("schedule %+v: %v", c, err)
				}
			}
		})
	}
}

// TestFastGradientsAreAsExact adds up the gradients of queries in any order.
func TestFastGradientsAreAsExact(t *testing.T) {
	w := &workshop{t: t}
	for i, m := range onHand(t, narrowSets()) {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			p := newTrial(kind{dim: 64, valueDim: 40, extras: i%2 == 0, layered: i%3 == 1})
			for _, c := range schedules(uint64(i))[1:] {
				a := w.kernel(m, c, Options{Fast: true})
				if err := compare(solve(p, a), expected(p), m.format); err != nil {
					t.Errorf("schedule %+v: %v", c, err)
				}
				if err := a.(kernel.Fallible).Err(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
