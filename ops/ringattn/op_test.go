package ringattn

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/shard"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func TestOneGraphPerRankEqualsDenseForEveryLayoutAndRing(t *testing.T) {
	in := problem(1, gqa)
	want := Dense(in)
	for _, layout := range shard.Layouts() {
		for _, size := range []int{1, 2, 3, 5, 8, 15} { // 15 ranks for 13 tokens: some have none
			got, err := spmd(in, size, 2, layout)
			if err != nil {
				t.Fatal(err)
			}
			requireEqual(t, fmt.Sprintf("%s ring %d", layout, size), got, want)
		}
	}
}

func TestOneGraphWithDevicesEqualsDenseForEveryLayoutAndRing(t *testing.T) {
	in := problem(2, gqa)
	want := Dense(in)
	for _, layout := range shard.Layouts() {
		for _, size := range []int{0, 1, 2, 3, 5, 8, 15} {
			x, err := newGraph(in, in.Tokens, 3, Config{Layout: layout, Devices: size})
			if err != nil {
				t.Fatal(err)
			}
			got, err := x.run(in)
			if err != nil {
				t.Fatal(err)
			}
			requireEqual(t, fmt.Sprintf("%s devices %d", layout, size), got, want)
		}
	}
}

func TestNodesOf2And3And4DimensionsAgree(t *testing.T) {
	for _, c := range []struct{ dims, batch int }{{2, 1}, {2, 3}, {3, 1}, {4, 1}, {4, 3}} {
		for _, full := range []bool{false, true} {
			in := gqa
			in.Batch, in.Causal = c.batch, !full
			in = problem(3, in)
			want := Dense(in)
			what := fmt.Sprintf("%d dimensions, batch %d, causal %t", c.dims, c.batch, in.Causal)
			got, err := spmd(in, 3, c.dims, shard.Zigzag)
			if err != nil {
				t.Fatal(err)
			}
			requireEqual(t, what, got, want)
			x, err := newGraph(in, in.Tokens, c.dims, Config{Layout: shard.Zigzag, Devices: 3})
			if err != nil {
				t.Fatal(err)
			}
			if got, err = x.run(in); err != nil {
				t.Fatal(err)
			}
			requireEqual(t, what+", devices", got, want)
		}
	}
}

func TestOneGraphRunsAgainWithOtherInputs(t *testing.T) {
	x, err := newGraph(gqa, gqa.Tokens, 2, Config{Devices: 3})
	if err != nil {
		t.Fatal(err)
	}
	for seed := range uint64(4) {
		in := problem(seed, gqa)
		got, err := x.run(in)
		if err != nil {
			t.Fatal(err)
		}
		requireEqual(t, fmt.Sprintf("run %d", seed), got, Dense(in))
		for _, n := range []struct {
			node *gorgonia.Node
			data []float64
		}{{x.q, in.Q}, {x.k, in.K}, {x.v, in.V}, {x.dOut, in.DOut}} {
			if !slices.Equal(n.node.Value().Data().([]float64), n.data) {
				t.Errorf("run %d has written into the input %v", seed, n.node)
			}
		}
	}
	if f, b := x.op.Counts(); f != 4 || b != 4 {
		t.Errorf("4 runs went round the ring %d times forward and %d times backward", f, b)
	}
	if err := x.op.Err(); err != nil {
		t.Error(err)
	}
}

func TestRunsRepeatTheirBits(t *testing.T) {
	in := problem(4, gqa)
	x, err := newGraph(in, in.Tokens, 2, Config{Devices: 4, Layout: shard.Zigzag})
	if err != nil {
		t.Fatal(err)
	}
	first, err := x.run(in)
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		again, err := x.run(in)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(again.Out, first.Out) || !slices.Equal(again.DQ, first.DQ) || !slices.Equal(again.DK, first.DK) || !slices.Equal(again.DV, first.DV) {
			t.Fatal("the same run gave other bits")
		}
	}
}

func TestLedgerOfTheOpCountsEachHopOfTheRing(t *testing.T) {
	full := gqa
	full.Causal = false // every block has to go to every rank
	in := problem(5, full)
	for size := 1; size <= 8; size++ {
		x, err := newGraph(in, in.Tokens, 2, Config{Devices: size})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the ledger is that of the last run
			if _, err := x.run(in); err != nil {
				t.Fatal(err)
			}
		}
		for _, k := range []dist.Kind{dist.ForwardKV, dist.BackwardKV, dist.BackwardDKV} {
			e := x.op.Ledger()[k]
			rows := in.Tokens * in.KVHeads * (in.Dim + in.ValueDim) * 8
			if e.Hops != size-1 || e.Tensors != 2*size*(size-1) || e.Bytes != int64(rows*(size-1)) {
				t.Errorf("ring %d: %s is %+v, want %d hops of 2 tensors by %d ranks, %d bytes", size, k, e, size-1, size, rows*(size-1))
			}
		}
	}
}

func TestLispMachineComputesTheSameGradients(t *testing.T) {
	in := problem(6, gqa)
	g := gorgonia.NewGraph()
	var nodes gorgonia.Nodes
	for _, n := range []struct {
		name         string
		data         []float64
		heads, width int
	}{{"q", in.Q, in.Heads, in.Dim}, {"k", in.K, in.KVHeads, in.Dim}, {"v", in.V, in.KVHeads, in.ValueDim}, {"w", in.DOut, in.Heads, in.ValueDim}} {
		shape := nodeShape(3, 1, in.Tokens, n.heads, n.width)
		nodes = append(nodes, gorgonia.NewTensor(g, tensor.Float64, 3, gorgonia.WithShape(shape...), gorgonia.WithName(n.name),
			gorgonia.WithValue(tensor.New(tensor.WithShape(shape...), tensor.WithBacking(n.data)))))
	}
	out, op, err := Apply(nodes[0], nodes[1], nodes[2], Config{Causal: true, Devices: 3, Layout: shard.Striped})
	if err != nil {
		t.Fatal(err)
	}
	gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.HadamardProd(out, nodes[3]))))
	machine := gorgonia.NewLispMachine(g)
	defer closing(t, machine)
	if err := machine.RunAll(); err != nil {
		t.Fatal(err)
	}
	got := DenseResult{Out: out.Value().Data().([]float64), LSE: op.LSE()}
	for i, to := range []*[]float64{&got.DQ, &got.DK, &got.DV} {
		d, err := nodes[i].Grad()
		if err != nil {
			t.Fatal(err)
		}
		*to = d.Data().([]float64)
	}
	requireEqual(t, "LispMachine", got, Dense(in))
	if f, b := op.Counts(); f != 1 || b != 1 {
		t.Errorf("%d forwards, %d backwards, want 1 and 1", f, b)
	}
}
