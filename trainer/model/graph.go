package model

import (
	"fmt"

	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/ops/meter"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

func dtypeOf[T ops.Float]() tensor.Dtype {
	if _, ok := any(*new(T)).(float32); ok {
		return tensor.Float32
	}
	return tensor.Float64
}

// header makes a tensor over data without copying it. Each rank makes its own: gorgonia writes into headers.
func header[T ops.Float](data []T, shape ...int) *tensor.Dense {
	return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(data))
}

// input adds an input node to a graph.
func input[T ops.Float](g *gorgonia.ExprGraph, name string, shape ...int) *gorgonia.Node {
	return gorgonia.NewTensor(g, dtypeOf[T](), len(shape), gorgonia.WithShape(shape...), gorgonia.WithName(name))
}

// builder chains ops and keeps the first error, so that a layer reads as its formula.
type builder struct{ err error }

func (b *builder) do(f func() (*gorgonia.Node, error)) *gorgonia.Node {
	if b.err != nil {
		return nil
	}
	var n *gorgonia.Node
	n, b.err = f()
	return n
}

func (b *builder) norm(x, weight *gorgonia.Node, eps float64, groups int) *gorgonia.Node {
	return b.do(func() (*gorgonia.Node, error) { return ops.RMSNorm(x, weight, eps, groups) })
}

func (b *builder) linear(x, weight, bias *gorgonia.Node) *gorgonia.Node {
	return b.do(func() (*gorgonia.Node, error) { return ops.Linear(x, weight, bias) })
}

func (b *builder) rope(x *gorgonia.Node, heads int, table *ops.RoPETable) *gorgonia.Node {
	return b.do(func() (*gorgonia.Node, error) { return ops.RoPE(x, heads, table) })
}

func (b *builder) swiglu(gate, up *gorgonia.Node) *gorgonia.Node {
	return b.do(func() (*gorgonia.Node, error) { return ops.SwiGLU(gate, up) })
}

func (b *builder) add(x, y *gorgonia.Node) *gorgonia.Node {
	return b.do(func() (*gorgonia.Node, error) { return ops.Add(x, y) })
}

// compileForward makes the program that computes out and nothing else of the graph.
func compileForward(g *gorgonia.ExprGraph, inputs gorgonia.Nodes, out *gorgonia.Node) (gorgonia.VM, error) {
	if err := ops.Lint(g); err != nil {
		return nil, err
	}
	program, locations, err := gorgonia.CompileFunction(g, inputs, gorgonia.Nodes{out})
	if err != nil {
		return nil, fmt.Errorf("model: compiling the forward program: %w", err)
	}
	return gorgonia.NewTapeMachine(g, gorgonia.WithPrecompiled(program, locations)), nil
}

// compileAll makes the program of the whole graph.
func compileAll(g *gorgonia.ExprGraph) (gorgonia.VM, error) {
	if err := ops.Lint(g); err != nil {
		return nil, err
	}
	program, locations, err := gorgonia.Compile(g)
	if err != nil {
		return nil, fmt.Errorf("model: compiling the full program: %w", err)
	}
	return gorgonia.NewTapeMachine(g, gorgonia.WithPrecompiled(program, locations)), nil
}

// bind gives input nodes their values for the next run.
func bind(node *gorgonia.Node, value *tensor.Dense) error {
	if err := gorgonia.Let(node, value); err != nil {
		return fmt.Errorf("model: binding %v: %w", node, err)
	}
	return nil
}

// run runs a program once and makes it ready for the next time.
func run(vm gorgonia.VM) error {
	defer meter.Start(meter.Program).End()
	defer vm.Reset()
	return ops.Cause(vm.RunAll())
}

// data reads the value a node had in the last run. The memory is the graph's: copy what must outlive its next run.
func data[T ops.Float](n *gorgonia.Node) ([]T, error) {
	if n.Value() == nil {
		return nil, fmt.Errorf("model: node %v has no value after the run", n)
	}
	d, ok := n.Value().Data().([]T)
	if !ok || len(d) != n.Shape().TotalSize() {
		return nil, fmt.Errorf("model: node %v holds %T, want %d values", n, n.Value().Data(), n.Shape().TotalSize())
	}
	return d, nil
}
