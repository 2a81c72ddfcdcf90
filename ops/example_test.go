package ops_test

import (
	"errors"
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringgrad/ringgrad/ops"
)

// A feed-forward layer with its residual, and the gradient of its first weight.
func Example() {
	var x, down, y *gorgonia.Node
	var grads gorgonia.Nodes
	var machine gorgonia.VM
	err := ops.Build(func() (err error) {
		g := gorgonia.NewGraph()
		input := func(name string, shape ...int) *gorgonia.Node {
			return gorgonia.NewTensor(g, tensor.Float32, len(shape), gorgonia.WithShape(shape...), gorgonia.WithName(name),
				gorgonia.WithInit(gorgonia.Ones()))
		}
		x = input("x", 2, 4)
		norm, gate, up := input("norm", 4), input("gate", 3, 4), input("up", 3, 4)
		down = input("down", 4, 3)
		h := gorgonia.Must(ops.RMSNorm(x, norm, 1e-6, 1))
		h = gorgonia.Must(ops.SwiGLU(gorgonia.Must(ops.Linear(h, gate, nil)), gorgonia.Must(ops.Linear(h, up, nil))))
		y = gorgonia.Must(ops.Add(x, gorgonia.Must(ops.Linear(h, down, nil))))

		dy := input("dy", 2, 4)
		if grads, err = ops.Backpropagate(gorgonia.Nodes{y}, gorgonia.Nodes{dy}, gorgonia.Nodes{x, down}); err != nil {
			return err
		}
		machine = gorgonia.NewTapeMachine(g)
		return ops.Lint(g)
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := machine.RunAll(); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("y %.3f\n", y.Value().Data())
	fmt.Printf("d down %.3f\n", grads[1].Value().Data())
	// Output:
	// y [48.137 48.137 48.137 48.137 48.137 48.137 48.137 48.137]
	// d down [31.424 31.424 31.424 31.424 31.424 31.424 31.424 31.424 31.424 31.424 31.424 31.424]
}

func ExampleCrossEntropy() {
	g := gorgonia.NewGraph()
	x := gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithShape(3, 2), gorgonia.WithName("x"), gorgonia.WithInit(gorgonia.Zeroes()))
	w := gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithShape(8, 2), gorgonia.WithName("w"), gorgonia.WithInit(gorgonia.Zeroes()))
	labels := ops.NewLabels(3)
	labels.Scale = 1.0 / 2 // the mean of two labelled rows
	cost := gorgonia.Must(ops.CrossEntropy(x, w, labels))
	machine := gorgonia.NewTapeMachine(g)

	if err := labels.Set([]int32{5, -100, 2}); err != nil {
		fmt.Println(err)
	}
	if err := machine.RunAll(); err != nil {
		fmt.Println(err)
	}
	fmt.Printf("%.4f from %d rows: %.4f\n", cost.Value().Data(), labels.Count(), labels.NLL())
	// Output: 2.0794 from 2 rows: [2.0794 0.0000 2.0794]
}

func ExampleEmbedding() {
	g := gorgonia.NewGraph()
	weight := gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithShape(3, 2), gorgonia.WithName("weight"),
		gorgonia.WithValue(tensor.New(tensor.WithShape(3, 2), tensor.WithBacking([]float32{0, 1, 10, 11, 20, 21}))))
	ids := ops.NewIDs(2)
	y := gorgonia.Must(ops.Embedding(weight, ids))
	machine := gorgonia.NewTapeMachine(g)

	for _, batch := range [][]int32{{2, 0}, {1, 3}} {
		if err := ids.Set(batch); err != nil {
			fmt.Println(err)
		}
		if err := ops.Cause(machine.RunAll()); errors.Is(err, ops.ErrToken) {
			fmt.Println("not a token of this model")
			break
		}
		fmt.Println(y.Value().Data())
		machine.Reset()
	}
	// Output:
	// [20 21 0 1]
	// not a token of this model
}

func ExampleLint() {
	g := gorgonia.NewGraph()
	x := gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithShape(3, 2), gorgonia.WithName("x"))
	gorgonia.Must(gorgonia.InverseSqrt(x))
	fmt.Println(ops.Lint(g))
	// Output: ops: lint: node 1 (invSqrt(%0) :: Matrix float32): the gradient of InverseSqrt is wrong: use Inverse(Sqrt(x)), or ops.RMSNorm
}

func ExampleRoPE() {
	g := gorgonia.NewGraph()
	x := gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithShape(1, 4), gorgonia.WithName("x"),
		gorgonia.WithValue(tensor.New(tensor.WithShape(1, 4), tensor.WithBacking([]float64{1, 2, 3, 4}))))
	table := ops.NewRoPETable(1, 2) // one row, two frequencies
	y := gorgonia.Must(ops.RoPE(x, 1, table))
	machine := gorgonia.NewTapeMachine(g)

	if err := table.Set([]float64{0, 1}, []float64{1, 0}); err != nil { // a quarter turn, and none
		fmt.Println(err)
	}
	if err := machine.RunAll(); err != nil {
		fmt.Println(err)
	}
	fmt.Println(y.Value().Data())
	// Output: [-3 2 1 4]
}
