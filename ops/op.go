package ops

import (
	"fmt"
	"hash"
	"hash/fnv"
	"runtime/debug"
	"slices"
	"sync/atomic"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringgrad/ringgrad/ops/meter"
)

// rule is the mathematics of one op; everything gorgonia wants besides is in this file and in backward.go.
type rule[T Float] interface {
	// forward writes every element of p.out.
	forward(p *pass[T]) error
	// backward writes every element of p.grad(i) for every input i.
	backward(p *pass[T]) error
}

// pass is one call of a rule.
type pass[T Float] struct {
	in   []array[T]
	out  array[T]             // forward only
	dOut array[T]             // backward only
	lent []bool               // backward only: whether the gradient of input i is to be added (see Lend)
	grad func(i int) array[T] // the op's buffer for the gradient of input i; a forward may already write there
}

// op is one application of a rule: the op of the forward node. The ops of the backward nodes hold it by pointer.
//
// Its buffers live as long as the graph and are written anew by each run: gorgonia itself would allocate every value on
// every run and free none of them before the next.
type op[T Float] struct {
	rule rule[T]
	name string
	id   uint64 // makes the hash of every instance its own, or gorgonia would merge two ops on the same inputs

	inShapes []tensor.Shape
	outShape tensor.Shape
	out      []T
	grads    []array[T]
	lent     []bool // by gradient: whether its memory is the caller's

	fresh bool // a forward has run since the last backward
}

// instances numbers the ops of the process.
var instances atomic.Uint64

// apply makes the forward node of one op.
func apply[T Float](p plan, r rule[T]) (*gorgonia.Node, error) {
	o := &op[T]{rule: r, name: p.name, id: instances.Add(1), outShape: p.out, grads: make([]array[T], len(p.in)), lent: make([]bool, len(p.in))}
	for _, n := range p.in {
		o.inShapes = append(o.inShapes, n.Shape().Clone())
	}
	node, err := gorgonia.ApplyOp(o, p.in...)
	if err != nil {
		return nil, fmt.Errorf("ops: %s: %w", p.name, err)
	}
	return node, nil
}

// Arity is the number of inputs.
func (o *op[T]) Arity() int { return len(o.inShapes) }

// Type is the op's type for gorgonia's inference: tensors of the built dims, all of one element type.
func (o *op[T]) Type() hm.Type { return typeOf(o.inShapes, o.outShape) }

// InferShape is the shape the op was built for.
func (o *op[T]) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) {
	return o.outShape.Clone(), nil
}

// ReturnsPtr says that the output is a pointer to shared memory.
func (o *op[T]) ReturnsPtr() bool { return true }

// CallsExtern is false so that the machine calls Do, which writes into the op's own buffer.
func (o *op[T]) CallsExtern() bool { return false }

// OverwritesInput is -1: no op here works in place.
func (o *op[T]) OverwritesInput() int { return -1 }

// WriteHash identifies the instance.
func (o *op[T]) WriteHash(h hash.Hash) { writeName(h, o) }

// Hashcode is the 32-bit hash gorgonia compares ops by.
func (o *op[T]) Hashcode() uint32 { return hashOf(o) }

// String is the op's name and instance.
func (o *op[T]) String() string { return fmt.Sprintf("%s#%d", o.name, o.id) }

// Do runs the rule forward.
func (o *op[T]) Do(values ...gorgonia.Value) (out gorgonia.Value, err error) {
	defer meter.Start(meter.Op).End()
	defer o.rescue("forward", &err)
	o.fresh = false
	in, err := arraysOf[T](values, o.inShapes)
	if err != nil {
		return nil, err
	}
	y := o.output()
	if err := o.rule.forward(&pass[T]{in: in, out: y, grad: o.grad, lent: o.lent}); err != nil {
		return nil, err
	}
	o.fresh = true
	return y.value(), nil
}

// output is the op's buffer for its output.
func (o *op[T]) output() array[T] {
	if o.out == nil {
		o.out = make([]T, o.outShape.TotalSize())
	}
	return array[T]{shape: o.outShape, data: o.out}
}

// grad is the op's buffer for the gradient of input i. It is allocated on first use, so that a graph that only runs
// forward never holds gradients.
func (o *op[T]) grad(i int) array[T] {
	if o.grads[i].data == nil {
		o.grads[i] = array[T]{shape: o.inShapes[i], data: make([]T, o.inShapes[i].TotalSize())}
	}
	return o.grads[i]
}

// rescue turns a panic into an error and names the op in every error. Machines run ops on goroutines of their own, where
// nobody else could recover a panic.
func (o *op[T]) rescue(direction string, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
	}
	if *err != nil {
		*err = fmt.Errorf("ops: %s %s: %w", o, direction, *err)
	}
}

// typeOf is the function type in -> out over one element type.
func typeOf(in []tensor.Shape, out tensor.Shape) hm.Type {
	var types []hm.Type
	for _, s := range append(slices.Clip(in), out) {
		element := hm.TypeVariable('a')
		if s.IsScalar() {
			types = append(types, element)
			continue
		}
		types = append(types, gorgonia.TensorType{Dims: s.Dims(), Of: element})
	}
	return hm.NewFnType(types...)
}

// writeName is the whole of an op's hash: the name holds the instance id.
func writeName(h hash.Hash, name fmt.Stringer) {
	_, _ = fmt.Fprintf(h, "ringgrad/ops.%s", name) // a hash never fails
}

// hashOf is FNV-1a over what the op writes.
func hashOf(o interface{ WriteHash(hash.Hash) }) uint32 {
	h := fnv.New32a()
	o.WriteHash(h)
	return h.Sum32()
}

var (
	_ gorgonia.SDOp = (*op[float32])(nil)
	_ gorgonia.ADOp = (*op[float32])(nil)
)
