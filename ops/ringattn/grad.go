package ringattn

import (
	"errors"
	"fmt"
	"hash"
	"slices"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// ErrNoForward is a backward that no forward went before: every backward uses up one forward, or one Replay.
var ErrNoForward = errors.New("backward without a fresh forward")

var (
	_ gorgonia.SDOp = (*Op)(nil)
	_ gorgonia.ADOp = (*Op)(nil)
	_ gorgonia.Op   = (*backwardOp)(nil)
	_ gorgonia.Op   = (*takeOp)(nil)
)

// DiffWRT says that all inputs have gradients.
func (o *Op) DiffWRT(inputs int) []bool { return slices.Repeat([]bool{true}, inputs) }

// SymDiff adds the gradients for the TapeMachine: one op that goes round the ring and returns dQ, and others that take the
// dK, dV and dSinks it left. The output is an input of the first only to make it run after the forward.
func (o *Op) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	dq, err := gorgonia.ApplyOp(&backwardOp{o}, append(slices.Clone(in), out, grad)...)
	if err != nil {
		return nil, fmt.Errorf("ringattn: adding the backward op: %w", err)
	}
	grads := gorgonia.Nodes{dq}
	for i, x := range in[1:] {
		t := &takeOp{o, i, x.Dims()}
		d, err := gorgonia.ApplyOp(t, x, dq)
		if err != nil {
			return nil, fmt.Errorf("ringattn: adding %s: %w", t.what(), err)
		}
		grads = append(grads, d)
	}
	return grads, nil
}

// DoDiff serves the LispMachine, which keeps a gradient beside every value and wants it added to.
func (o *Op) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	dOut, err := out.Grad()
	if err != nil {
		return fmt.Errorf("ringattn: gradient of the output: %w", err)
	}
	var values []gorgonia.Value
	for _, n := range in {
		values = append(values, n.Value())
	}
	grads, err := o.backward(values, dOut)
	if err != nil {
		return err
	}
	for i, n := range in {
		d, err := n.Grad()
		if err != nil {
			return fmt.Errorf("ringattn: gradient of %v: %w", n, err)
		}
		if _, err := d.(*tensor.Dense).Add(grads[i], tensor.UseUnsafe()); err != nil {
			return fmt.Errorf("ringattn: adding to the gradient of %v: %w", n, err)
		}
	}
	return nil
}

// backward computes dQ, dK, dV and dSinks once for the last forward.
func (o *Op) backward(in []gorgonia.Value, dOut gorgonia.Value) (grads []*tensor.Dense, err error) {
	err = o.guard("backward", func() error {
		o.mu.Lock()
		ctx, fresh := o.ctx, o.fresh
		o.fresh = false
		o.mu.Unlock()
		if !fresh {
			return ErrNoForward
		}
		var err error
		grads, err = o.engine.backward(ctx, in, dOut)
		if err == nil {
			o.mu.Lock()
			o.backs++
			o.mu.Unlock()
		}
		return err
	})
	return grads, err
}

// backwardOp is (q, k, v, [sinks,] out, dOut) → dQ; it leaves dK, dV and dSinks with the op.
type backwardOp struct{ op *Op }

func (b *backwardOp) Arity() int           { return b.op.Arity() + 2 }
func (b *backwardOp) ReturnsPtr() bool     { return true }
func (b *backwardOp) CallsExtern() bool    { return false }
func (b *backwardOp) OverwritesInput() int { return -1 }
func (b *backwardOp) Hashcode() uint32     { return hashcode(b) }
func (b *backwardOp) String() string       { return fmt.Sprintf("RingAttentionBackward#%d", b.op.id) }

func (b *backwardOp) Type() hm.Type {
	x := typeOf(b.op.dims)
	return hm.NewFnType(append(b.op.inputTypes(), x, x, x)...)
}

func (b *backwardOp) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) {
	return b.op.geo.q.Clone(), nil
}

func (b *backwardOp) WriteHash(h hash.Hash) {
	_, _ = fmt.Fprint(h, "backward of ")
	b.op.WriteHash(h)
}

func (b *backwardOp) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	n := b.op.Arity()
	if len(in) != n+2 {
		return nil, fmt.Errorf("ringattn: backward: %d inputs, want those of the forward, out and dOut: %d", len(in), n+2)
	}
	grads, err := b.op.backward(in[:n], in[n+1])
	if err != nil {
		return nil, err
	}
	b.op.mu.Lock()
	b.op.taken = grads[1:]
	b.op.mu.Unlock()
	return grads[0], nil
}

// takeOp is (x, dQ) → dX, for the inputs behind q; dQ only makes it run after the backward.
type takeOp struct {
	op    *Op
	index int // 0 for k, 1 for v, 2 for the sinks
	dims  int // of x
}

func (t *takeOp) what() string { return []string{"dK", "dV", "dSinks"}[t.index] }

func (t *takeOp) Arity() int { return 2 }
func (t *takeOp) Type() hm.Type {
	return hm.NewFnType(typeOf(t.dims), typeOf(t.op.dims), typeOf(t.dims))
}
func (t *takeOp) ReturnsPtr() bool     { return true }
func (t *takeOp) CallsExtern() bool    { return false }
func (t *takeOp) OverwritesInput() int { return -1 }
func (t *takeOp) Hashcode() uint32     { return hashcode(t) }
func (t *takeOp) String() string       { return fmt.Sprintf("RingAttention%s#%d", t.what(), t.op.id) }

func (t *takeOp) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) {
	return []tensor.Shape{t.op.geo.k, t.op.geo.v, {t.op.geo.call.Heads}}[t.index].Clone(), nil
}

func (t *takeOp) WriteHash(h hash.Hash) {
	_, _ = fmt.Fprint(h, t.what(), " of ")
	t.op.WriteHash(h)
}

// Do hands the gradient over: the op lets go of it, so that the graph may write into it.
func (t *takeOp) Do(...gorgonia.Value) (gorgonia.Value, error) {
	t.op.mu.Lock()
	defer t.op.mu.Unlock()
	if t.index >= len(t.op.taken) || t.op.taken[t.index] == nil {
		return nil, fmt.Errorf("ringattn: %s: %w", t.what(), ErrNoForward)
	}
	d := t.op.taken[t.index]
	t.op.taken[t.index] = nil
	return d, nil
}
