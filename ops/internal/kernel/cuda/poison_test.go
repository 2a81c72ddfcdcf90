package cuda

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/device/sim"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// What follows holds the kernels to who depends on whom where the suite of all kernels does not look: dropped pairs, logits that
// overflow though all inputs are finite, and carries on the device.

// oneBlock is a trial of one head whose queries see all keys of one block. Keys stand at 0, 1.. and so do queries.
func oneBlock(queries, keys, dim int) trial {
	b := kernel.Block{
		Heads: 1, KVHeads: 1, Dim: dim, ValueDim: dim, Scale: 1,
		Rows: []kernel.Segment{{Stride: 1, Count: queries}}, Cols: []kernel.Segment{{Stride: 1, Count: keys}},
	}
	r := rand.New(rand.NewPCG(1, 2))
	normal := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		return x
	}
	return trial{
		blocks: []kernel.Block{b}, queries: queries, heads: 1,
		q: normal(queries * dim), dOut: normal(queries * dim), k: [][]float32{normal(keys * dim)}, v: [][]float32{normal(keys * dim)},
	}
}

// of is the array of a name.
func (a answers[T]) of(name string) []T { return a.arrays[slices.Index(a.names, name)] }

// wantNaN says where an array, rows of dim columns, must hold NaN; all else must be finite.
func wantNaN(t *testing.T, what string, x []float32, dim int, want func(row, column int) bool) {
	t.Helper()
	for i, a := range x {
		isNaN := math.IsNaN(float64(a))
		if isNaN != want(i/dim, i%dim) || math.IsInf(float64(a), 0) {
			t.Errorf("%s: row %d, column %d is %v; want NaN: %t", what, i/dim, i%dim, a, want(i/dim, i%dim))
			return
		}
	}
}

// inAllSets runs a test of every set of kernels of width 64.
func inAllSets(t *testing.T, test func(t *testing.T, m made, solve func(p trial) answers[float32])) {
	w := &workshop{t: t}
	for _, m := range narrowSets() {
		t.Run(m.String(), func(t *testing.T) {
			t.Parallel()
			test(t, m, func(p trial) answers[float32] {
				k := w.kernel(m, sim.Config{}, Options{})
				got := solve(p, k)
				if err := k.(kernel.Fallible).Err(); err != nil {
					t.Fatal(err)
				}
				return got
			})
		})
	}
}

func TestDroppedPairsMayHoldAnything(t *testing.T) {
	const queries, keys, dim = 40, 50, 8
	drop := kernel.Dropout{Threshold: kernel.NewThreshold(0.5), Keys: []uint64{7}}
	keeps := func(i, j int) bool {
		return kernel.Kept(kernel.QueryWord(7, i), kernel.KeyWord(7, j), drop.Threshold)
	}
	nowhere := func(int, int) bool { return false }
	everywhere := func(int, int) bool { return true }
	inAllSets(t, func(t *testing.T, _ made, solve func(p trial) answers[float32]) {
		p := oneBlock(queries, keys, dim)
		p.blocks[0].Dropout = drop
		p.v[0][11*dim+3] = float32(math.NaN())
		got := solve(p)
		wantNaN(t, "out, NaN in v", got.of("out"), dim, func(i, c int) bool { return c == 3 && keeps(i, 11) })
		wantNaN(t, "dq, NaN in v", got.of("dq"), dim, func(i, _ int) bool { return keeps(i, 11) })
		wantNaN(t, "dv, NaN in v", got.of("dv of block 0"), dim, nowhere)

		p = oneBlock(queries, keys, dim)
		p.blocks[0].Dropout = drop
		p.dOut[5*dim+2] = float32(math.NaN())
		got = solve(p)
		wantNaN(t, "out, NaN in dOut", got.of("out"), dim, nowhere)
		wantNaN(t, "dq, NaN in dOut", got.of("dq"), dim, func(i, _ int) bool { return i == 5 })
		wantNaN(t, "dk, NaN in dOut", got.of("dk of block 0"), dim, everywhere)
		wantNaN(t, "dv, NaN in dOut", got.of("dv of block 0"), dim, func(j, c int) bool { return c == 2 && keeps(5, j) })
	})
}

// A row all of whose logits are -Inf is one that sees nothing, also where tiles are full and no input is Inf; so it is in the careful
// kernels, where another query's NaN calls them. One of +Inf makes NaN of all that depends on it.
func TestLogitsMayOverflow(t *testing.T) {
	const n, dim, row = 128, 16, 9
	inAllSets(t, func(t *testing.T, m made, solve func(p trial) answers[float32]) {
		if m.format == Float16 {
			return // whose products do not overflow
		}
		fill := func(logits float32) trial {
			p := oneBlock(n, n, dim)
			for j := range n {
				p.k[0][j*dim] = -1e30
			}
			for i := range n {
				p.q[i*dim] = 0
			}
			p.q[row*dim] = -1e30 * logits
			return p
		}
		blind := func(what string, got answers[float32]) {
			if lse := got.of("lse")[row]; !math.IsInf(float64(lse), -1) {
				t.Errorf("%s: lse is %v, want -Inf", what, lse)
			}
			for _, name := range []string{"out", "dq"} {
				for _, x := range got.of(name)[row*dim:][:dim] {
					if x != 0 {
						t.Fatalf("%s: %s of a row whose logits are all -Inf is %v, want 0", what, name, x)
					}
				}
			}
		}
		got := solve(fill(-1))
		blind("finite inputs", got)
		for i, x := range got.arrays {
			if got.names[i] != "lse" {
				wantNaN(t, got.names[i], x, dim, func(int, int) bool { return false })
			}
		}
		p := fill(-1)
		p.q[70*dim+1] = float32(math.NaN())
		got = solve(p)
		blind("NaN elsewhere", got)
		wantNaN(t, "dq, NaN in q", got.of("dq"), dim, func(i, _ int) bool { return i == 70 })

		got = solve(fill(1))
		wantNaN(t, "out, logits of +Inf", got.of("out"), dim, func(i, _ int) bool { return i == row })
		wantNaN(t, "dq, logits of +Inf", got.of("dq"), dim, func(i, _ int) bool { return i == row })
		for _, name := range []string{"dk of block 0", "dv of block 0"} {
			wantNaN(t, name+", logits of +Inf", got.of(name), dim, func(int, int) bool { return true })
		}
	})
}

// O of a row that has seen nothing may be anything: Merge and Finish take nothing from it.
func TestCarriesOnTheDeviceMayHoldAnythingWhereTheySawNothing(t *testing.T) {
	w := newEngine(t, sim.Config{}, Options{}).begin()
	w.do(func() (err error) {
		w.block, err = w.Prepare(oneBlock(1, 1, 64).blocks[0], Float32)
		return err
	})
	fill := func(words int, x float32) device.Ptr { return w.send(rawBytes(slices.Repeat([]float32{x}, words))) }
	carry := func(o, m, l float32) Carry {
		return Carry{O: fill(PaddedRows(1)*64, o), M: fill(PaddedRows(1), m), L: fill(PaddedRows(1), l)}
	}
	check := func(what string, c Carry, want float32) {
		f := Finish{Carry: c, Out: w.emptyRows(matrix{heads: 1, rows: 1}, false), High: w.emptyLine(), Low: w.emptyLine()}
		w.do(func() error { return w.Finish(w.stream, w.block, f) })
		w.fetch(f.Out, 4*64, func(b []byte) {
			for _, x := range floats(b) {
				if x != want {
					t.Fatalf("%s: out is %v, want %v", what, x, want)
				}
			}
		})
	}
	blind := func() Carry { return carry(float32(math.NaN()), float32(math.Inf(-1)), 0) }
	into, other := carry(6, 3, 2), blind()
	w.do(func() error { return w.Merge(w.stream, w.block, into, other) })
	check("merged into a carry", into, 3)
	into, other = blind(), carry(6, 3, 2)
	w.do(func() error { return w.Merge(w.stream, w.block, into, other) })
	check("merged with a carry", into, 3)
	check("finished", blind(), 0)
	if err := w.end(); err != nil {
		t.Fatal(err)
	}
}
