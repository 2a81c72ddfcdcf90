package model

import (
	"fmt"

	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/ops/meter"
	"github.com/ringgrad/ringgrad/trainer/hf"
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
type builder struct {
	cfg hf.Config
	err error
}

func (b *builder) do(f func() (*gorgonia.Node, error)) *gorgonia.Node {
	if b.err != nil {
		return nil
	}
	var n *gorgonia.Node
	n, b.err = f()
	return n
}

// norm is RMSNorm as the model has it, of groups of columns.
func (b *builder) norm(x, weight *gorgonia.Node, groups int) *gorgonia.Node {
	norm := ops.RMSNorm
	if b.cfg.ZeroCenteredNorms {
		norm = ops.ZeroCenteredRMSNorm
	}
	return b.do(func() (*gorgonia.Node, error) { return norm(x, weight, b.cfg.RMSNormEps, groups) })
}

func (b *builder) linear(x, weight, bias *gorgonia.Node) *gorgonia.Node {
	return b.do(func() (*gorgonia.Node, error) { return ops.Linear(x, weight, bias) })
}

func (b *builder) rope(x *gorgonia.Node, heads int, table *ops.RoPETable) *gorgonia.Node {
	return b.do(func() (*gorgonia.Node, error) { return ops.RoPE(x, heads, table) })
}

// gate is that of the feed-forward net, of two projections.
func (b *builder) gate(gate, up *gorgonia.Node) *gorgonia.Node {
	glu := ops.SwiGLU
	if b.cfg.Gate == hf.GeGLU {
		glu = ops.GeGLU
	}
	return b.do(func() (*gorgonia.Node, error) { return glu(gate, up) })
}

// expert is the feed-forward net of gpt-oss with a single expert. The router gives it the softmax of one score, which is 1.
func (b *builder) expert(x *gorgonia.Node, w map[string]*gorgonia.Node) *gorgonia.Node {
	project := func(x *gorgonia.Node, name string) *gorgonia.Node {
		return b.do(func() (*gorgonia.Node, error) { return ops.Project(x, w[name], w[name+"_bias"]) })
	}
	gateUp := project(x, "mlp.experts.gate_up_proj")
	hidden := b.do(func() (*gorgonia.Node, error) { return ops.ClampedSwiGLU(gateUp, b.cfg.GateAlpha, b.cfg.GateLimit) })
	return project(hidden, "mlp.experts.down_proj")
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
