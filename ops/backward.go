package ops

import (
	"errors"
	"fmt"
	"hash"
	"slices"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringgrad/ringgrad/ops/meter"
)

// errStale is returned where a backward is asked for that no forward came before.
var errStale = errors.New("no forward has run since the last backward: run the program that holds both")

// DiffWRT says that every input has a gradient.
func (o *op[T]) DiffWRT(inputs int) []bool {
	wrt := make([]bool, inputs)
	for i := range wrt {
		wrt[i] = true
	}
	return wrt
}

// SymDiff adds one node per input. The first computes all gradients at once, the others hand over what it has computed:
//
//	in..., out, dOut ──> d in[0] ──> d in[1]
//	                        └──────> d in[2]
//
// The first has the inputs as its inputs too, so that gorgonia keeps their memory until it has run, and the output, so that
// gorgonia runs the forward before it: it may depend on what that has saved, and on nothing else that would order the two.
func (o *op[T]) SymDiff(inputs gorgonia.Nodes, output, dOut *gorgonia.Node) (gorgonia.Nodes, error) {
	var grads gorgonia.Nodes
	operands := append(append(gorgonia.Nodes{}, inputs...), output, dOut)
	for _, g := range o.gradientOps() {
		n, err := gorgonia.ApplyOp(g, operands...)
		if err != nil {
			return nil, fmt.Errorf("ops: %s: %w", g, err)
		}
		grads = append(grads, n)
		operands = grads[:1:1]
	}
	return grads, nil
}

// DoDiff is the backward of the LispMachine: it adds to the gradients that the nodes hold.
func (o *op[T]) DoDiff(_ gorgonia.ExecutionContext, inputs gorgonia.Nodes, output *gorgonia.Node) error {
	var values []gorgonia.Value
	for _, n := range inputs {
		values = append(values, n.Value())
	}
	dOut, err := output.Grad()
	if err != nil {
		return fmt.Errorf("ops: %s backward: %w", o, err)
	}
	if err := o.differentiate(append(values, output.Value(), dOut)); err != nil {
		return err
	}
	for i, n := range inputs {
		if err := accumulate(n, o.grad(i)); err != nil {
			return fmt.Errorf("ops: %s gradient %d: %w", o, i, err)
		}
	}
	return nil
}

// accumulate adds g to the gradient that the LispMachine keeps at n.
func accumulate[T Float](n *gorgonia.Node, g array[T]) error {
	v, err := n.Grad()
	if err != nil {
		return err
	}
	d, ok := v.(*tensor.Dense)
	if !ok || !rowMajor(d) {
		return fmt.Errorf("the gradient of %v is a %T that is no row-major tensor", n, v)
	}
	sum, err := denseOf[T](d)
	if err != nil {
		return err
	}
	for i, x := range g.data {
		sum.data[i] += x
	}
	return nil
}

// differentiate runs the rule backward; values are those of the operands of SymDiff.
func (o *op[T]) differentiate(values []gorgonia.Value) (err error) {
	defer meter.Start(meter.Op).End()
	defer o.rescue("backward", &err)
	if !o.fresh {
		return errStale
	}
	o.fresh = false
	all, err := arraysOf[T](values, o.backwardShapes())
	if err != nil {
		return err
	}
	n := len(o.inShapes)
	return o.rule.backward(&pass[T]{in: all[:n], dOut: all[n+1], grad: o.grad, lent: o.lent})
}

func (o *op[T]) backwardShapes() []tensor.Shape {
	return append(slices.Clip(o.inShapes), o.outShape, o.outShape)
}

// gradientOp yields the gradient of input i of the op f. The one that yields the first gradient computes them all; the others
// have that one as their input, only so that gorgonia runs it before them.
type gradientOp[T Float] struct {
	f        *op[T]
	i        int
	inShapes []tensor.Shape
	compute  bool
}

func (o *op[T]) gradientOps() []*gradientOp[T] {
	ops := []*gradientOp[T]{{f: o, inShapes: o.backwardShapes(), compute: true}}
	for i := 1; i < len(o.inShapes); i++ {
		ops = append(ops, &gradientOp[T]{f: o, i: i, inShapes: o.inShapes[:1]})
	}
	return ops
}

func (g *gradientOp[T]) Arity() int            { return len(g.inShapes) }
func (g *gradientOp[T]) Type() hm.Type         { return typeOf(g.inShapes, g.f.inShapes[g.i]) }
func (g *gradientOp[T]) ReturnsPtr() bool      { return true }
func (g *gradientOp[T]) CallsExtern() bool     { return false }
func (g *gradientOp[T]) OverwritesInput() int  { return -1 }
func (g *gradientOp[T]) WriteHash(h hash.Hash) { writeName(h, g) }
func (g *gradientOp[T]) Hashcode() uint32      { return hashOf(g) }
func (g *gradientOp[T]) String() string        { return fmt.Sprintf("%s.d%d", g.f, g.i) }

func (g *gradientOp[T]) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) {
	return g.f.inShapes[g.i].Clone(), nil
}

func (g *gradientOp[T]) Do(values ...gorgonia.Value) (gorgonia.Value, error) {
	if g.compute {
		if err := g.f.differentiate(values); err != nil {
			return nil, err
		}
	}
	return g.f.grad(g.i).value(), nil
}
