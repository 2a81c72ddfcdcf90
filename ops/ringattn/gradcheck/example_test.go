package gradcheck_test

import (
	"context"
	"fmt"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn/gradcheck"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Any gorgonia graph can be checked, here one with an op whose gradient gorgonia has wrong.
func ExampleGraph() {
	for _, op := range []func(*gorgonia.Node) (*gorgonia.Node, error){gorgonia.Sqrt, gorgonia.InverseSqrt} {
		g := gorgonia.NewGraph()
		x := gorgonia.NewVector(g, tensor.Float64, gorgonia.WithShape(3), gorgonia.WithName("x"),
			gorgonia.WithValue(tensor.New(tensor.WithShape(3), tensor.WithBacking([]float64{1, 4, 9}))))
		y := gorgonia.Must(op(x))
		r, err := gradcheck.Graph(context.Background(), gradcheck.GraphCheck{Inputs: gorgonia.Nodes{x}, Output: y})
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Printf("ok: %t, %d entries of d%s\n", r.OK, r.Inputs[0].Checked, r.Inputs[0].Name)
	}
	// Output:
	// ok: true, 3 entries of dx
	// ok: false, 3 entries of dx
}

func ExampleCheckGolden() {
	r, err := gradcheck.CheckGolden(context.Background(), []string{"../../../testdata/golden/a04_causal_33_gqa.safetensors"},
		gradcheck.Options{Rings: []int{1, 3}, Layouts: []shard.Layout{shard.Zigzag}, DTypes: []string{"float64"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range r.Cases {
		fmt.Println(c.Case, "ring", c.Ring, "ok:", c.OK, "hops:", c.Sends.ForwardKV, c.Sends.BackwardKV, c.Sends.BackwardDKV)
	}
	// Output:
	// a04_causal_33_gqa ring 1 ok: true hops: 0 0 0
	// a04_causal_33_gqa ring 3 ok: true hops: 2 2 2
}
