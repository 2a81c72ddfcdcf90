package ops_test

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"

	"gorgonia.org/gorgonia"

	"github.com/ringgrad/ringgrad/ops"
)

func TestForwardEqualsReference(t *testing.T) {
	for _, c := range append(smallCases(), largeCases()...) {
		t.Run(c.name, func(t *testing.T) {
			g := compile[float64](t, c)
			for seed := range uint64(2) { // twice through one graph, with other values
				in := c.randomInputs(seed)
				got := g.run(t, in, c.randomDOut(seed))
				wantNear(t, "out", got.out, c.reference(in), 1e-13)
			}
		})
	}
}

func TestBackwardEqualsCentralDifferences(t *testing.T) {
	for _, c := range smallCases() {
		t.Run(c.name, func(t *testing.T) {
			g := compile[float64](t, c)
			for seed := range uint64(2) {
				in, dOut := c.randomInputs(seed), c.randomDOut(seed)
				got := g.run(t, in, dOut)
				for i, want := range c.numericGradients(in, dOut) {
					wantNear(t, fmt.Sprint("gradient of input ", i), got.grads[i], want, 1e-6)
				}
			}
		})
	}
}

func TestFloat32EqualsFloat64(t *testing.T) {
	for _, c := range append(smallCases(), largeCases()...) {
		t.Run(c.name, func(t *testing.T) {
			in, dOut := c.randomInputs(3), c.randomDOut(3)
			for i := range in { // the same numbers for both
				in[i] = rounded[float32](in[i])
			}
			dOut = rounded[float32](dOut)
			want := compile[float64](t, c).run(t, in, dOut)
			got := compile[float32](t, c).run(t, in, dOut)
			wantNear(t, "out", got.out, want.out, 1e-6)
			for i := range want.grads {
				wantNear(t, fmt.Sprint("gradient of input ", i), got.grads[i], want.grads[i], 2e-6)
			}
		})
	}
}

func TestBitsDoNotDependOnThreads(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, c := range largeCases() {
		g := compile[float32](t, c)
		in, dOut := c.randomInputs(4), c.randomDOut(4)
		var first result
		for i, threads := range []int{1, 2, 7} {
			runtime.GOMAXPROCS(threads)
			got := g.run(t, in, dOut)
			if i == 0 {
				first = got
				continue
			}
			for k := range first.grads {
				if !slices.Equal(got.grads[k], first.grads[k]) {
					t.Errorf("%s: gradient %d differs between 1 and %d threads", c.name, k, threads)
				}
			}
			if !slices.Equal(got.out, first.out) {
				t.Errorf("%s: out differs between 1 and %d threads", c.name, threads)
			}
		}
	}
}

// The LispMachine differentiates while it runs and has no CSE, registers or gradient nodes.
func TestLispMachineEqualsTapeMachine(t *testing.T) {
	for _, c := range smallCases() {
		t.Run(c.name, func(t *testing.T) {
			in, dOut := c.randomInputs(5), c.randomDOut(5)
			want := compile[float64](t, c).run(t, in, dOut)

			var nodes []*gorgonia.Node
			g := gorgonia.NewGraph()
			for i, s := range c.shapes {
				nodes = append(nodes, node[float64](g, fmt.Sprint("in", i), s))
				let[float64](t, nodes[i], in[i])
			}
			weights := node[float64](g, "weights", c.out)
			let[float64](t, weights, dOut)
			y, err := c.build(nodes)
			if err != nil {
				t.Fatal(err)
			}
			weighed := gorgonia.Must(gorgonia.HadamardProd(y, weights))
			if !c.out.IsScalar() {
				gorgonia.Must(gorgonia.Sum(weighed))
			}
			machine := gorgonia.NewLispMachine(g)
			t.Cleanup(func() { _ = machine.Close() })
			if err := machine.RunAll(); err != nil {
				t.Fatal(err)
			}
			for i, n := range nodes {
				d, err := n.Grad()
				if err != nil {
					t.Fatal(err)
				}
				wantNear(t, fmt.Sprint("gradient of input ", i), read(d), want.grads[i], 1e-12)
			}
		})
	}
}

func TestOneNodeMayBeEveryInput(t *testing.T) {
	c := addCase(3, 4)
	c.shapes = c.shapes[:1]
	c.build = func(in []*gorgonia.Node) (*gorgonia.Node, error) { return ops.Add(in[0], in[0]) }
	in, dOut := c.randomInputs(6), c.randomDOut(6)
	got := compile[float64](t, c).run(t, in, dOut)
	for i := range dOut {
		if got.out[i] != 2*in[0][i] || got.grads[0][i] != 2*dOut[i] {
			t.Fatalf("x+x at %d is %v with gradient %v, want %v and %v", i, got.out[i], got.grads[0][i], 2*in[0][i], 2*dOut[i])
		}
	}
}

// Two ops that are alike in everything are two nodes: each keeps what its own backward needs.
func TestEqualOpsOnEqualInputsStayTwoNodes(t *testing.T) {
	g := gorgonia.NewGraph()
	x := node[float64](g, "x", []int{2, 4})
	w := node[float64](g, "w", []int{4})
	a := gorgonia.Must(ops.RMSNorm(x, w, 1e-5, 1))
	b := gorgonia.Must(ops.RMSNorm(x, w, 1e-5, 1))
	if a == b || a.Hashcode() == b.Hashcode() {
		t.Fatal("gorgonia has merged two ops")
	}
}

// A shard may hold no row at all.
func TestNoRows(t *testing.T) {
	for _, c := range []opCase{
		linearCase(0, 3, 4, true), rmsnormCase(0, 6, 2), ropeCase(0, 2, 4), swigluCase(0, 5), addCase(0, 5),
		embeddingCase(0, 4, 3), crossEntropyCase(0, 3, 7), zeroCenteredCase(0, 6, 2), projectCase(0, 3, 4), gegluCase(0, 5),
		clampedCase(0, 5, 1), softcapCase(0, 5), cappedCase(0, 3, 7, 2),
	} {
		t.Run(c.name, func(t *testing.T) {
			got := compile[float32](t, c).run(t, c.randomInputs(8), c.randomDOut(8))
			for i, s := range c.shapes {
				if len(got.grads[i]) != s.TotalSize() {
					t.Fatalf("gradient %d has %d elements, want %d", i, len(got.grads[i]), s.TotalSize())
				}
				for _, g := range got.grads[i] {
					if g != 0 {
						t.Fatalf("gradient %d of no rows is %v", i, got.grads[i])
					}
				}
			}
		})
	}
}

// 2^25 ones: a running float32 sum stops at 2^24.
func TestFloat32ColumnSumsStayExactOverManyRows(t *testing.T) {
	const n = 200_000
	c := linearCase(n, 1, 1, true)
	dOut := make([]float64, n)
	want := 0.0
	for i := range dOut {
		dOut[i] = float64(float32(0.1 + 1e-3*float64(i%7)))
		want += dOut[i]
	}
	got := compile[float32](t, c).run(t, c.randomInputs(9), dOut)
	if rel := math.Abs(got.grads[2][0]-want) / want; rel > 1e-7 {
		t.Fatalf("sum of %d rows is %v, want %v: off by %.2g", n, got.grads[2][0], want, rel)
	}
}
