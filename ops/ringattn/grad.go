package ringattn

import (
	"errors"
	"fmt"
	"hash"

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

// DiffWRT says that all three inputs have gradients.
func (o *Op) DiffWRT(inputs int) []bool { return []bool{true, true, true} }

// SymDiff adds the gradients for the TapeMachine: one op that goes round the ring and returns dQ, and two that take the
// dK and dV it left. The output is an input of the first only to make it run after the forward.
func (o *Op) SymDiff(in gorgonia.Nodes, out, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	dq, err := gorgonia.ApplyOp(&backwardOp{o}, in[0], in[1], in[2], out, grad)
	if err != nil {
		return nil, fmt.Errorf("ringattn: adding the backward op: %w", err)
	}
	dk, err := gorgonia.ApplyOp(&takeOp{o, "dK"}, in[1], dq)
	if err != nil {
		return nil, fmt.Errorf("ringattn: adding dK: %w", err)
	}
	dv, err := gorgonia.ApplyOp(&takeOp{o, "dV"}, in[2], dq)
	if err != nil {
		return nil, fmt.Errorf("ringattn: adding dV: %w", err)
	}
	return gorgonia.Nodes{dq, dk, dv}, nil
}

// DoDiff serves the LispMachine, which keeps a gradient beside every value and wants it added to.
func (o *Op) DoDiff(_ gorgonia.ExecutionContext, in gorgonia.Nodes, out *gorgonia.Node) error {
	dOut, err := out.Grad()
	if err != nil {
		return fmt.Errorf("ringattn: gradient of the output: %w", err)
	}
	grads, err := o.backward(in[0].Value(), in[1].Value(), in[2].Value(), dOut)
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

// backward computes dQ, dK, dV once for the last forward.
func (o *Op) backward(q, k, v, dOut gorgonia.Value) (grads [3]*tensor.Dense, err error) {
	err = o.guard("backward", func() error {
		o.mu.Lock()
		ctx, fresh := o.ctx, o.fresh
		o.fresh = false
		o.mu.Unlock()
		if !fresh {
			return ErrNoForward
		}
		var err error
		grads, err = o.engine.backward(ctx, []gorgonia.Value{q, k, v}, dOut)
		if err == nil {
			o.mu.Lock()
			o.backs++
			o.mu.Unlock()
		}
		return err
	})
	return grads, err
}

// backwardOp is (q, k, v, out, dOut) → dQ; it leaves dK and dV with the op.
type backwardOp struct{ op *Op }

func (b *backwardOp) Arity() int           { return 5 }
func (b *backwardOp) Type() hm.Type        { return typeOf(b.op.dims, 5) }
func (b *backwardOp) ReturnsPtr() bool     { return true }
func (b *backwardOp) CallsExtern() bool    { return false }
func (b *backwardOp) OverwritesInput() int { return -1 }
func (b *backwardOp) Hashcode() uint32     { return hashcode(b) }
func (b *backwardOp) String() string       { return fmt.Sprintf("RingAttentionBackward#%d", b.op.id) }

func (b *backwardOp) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) {
	return b.op.geo.q.Clone(), nil
}

func (b *backwardOp) WriteHash(h hash.Hash) {
	_, _ = fmt.Fprint(h, "backward of ")
	b.op.WriteHash(h)
}

func (b *backwardOp) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	if len(in) != 5 {
		return nil, fmt.Errorf("ringattn: backward: %d inputs, want q, k, v, out, dOut", len(in))
	}
	grads, err := b.op.backward(in[0], in[1], in[2], in[4])
	if err != nil {
		return nil, err
	}
	b.op.mu.Lock()
	b.op.dK, b.op.dV = grads[1], grads[2]
	b.op.mu.Unlock()
	return grads[0], nil
}

// takeOp is (k, dQ) → dK or (v, dQ) → dV; dQ only makes it run after the backward.
type takeOp struct {
	op   *Op
	what string // "dK" or "dV"
}

func (t *takeOp) Arity() int           { return 2 }
func (t *takeOp) Type() hm.Type        { return typeOf(t.op.dims, 2) }
func (t *takeOp) ReturnsPtr() bool     { return true }
func (t *takeOp) CallsExtern() bool    { return false }
func (t *takeOp) OverwritesInput() int { return -1 }
func (t *takeOp) Hashcode() uint32     { return hashcode(t) }
func (t *takeOp) String() string       { return fmt.Sprintf("RingAttention%s#%d", t.what, t.op.id) }

func (t *takeOp) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) {
	if t.what == "dK" {
		return t.op.geo.k.Clone(), nil
	}
	return t.op.geo.v.Clone(), nil
}

func (t *takeOp) WriteHash(h hash.Hash) {
	_, _ = fmt.Fprint(h, t.what, " of ")
	t.op.WriteHash(h)
}

// Do hands the gradient over: the op lets go of it, so that the graph may write into it.
func (t *takeOp) Do(...gorgonia.Value) (gorgonia.Value, error) {
	t.op.mu.Lock()
	defer t.op.mu.Unlock()
	from := &t.op.dK
	if t.what == "dV" {
		from = &t.op.dV
	}
	d := *from
	if *from = nil; d == nil {
		return nil, fmt.Errorf("ringattn: %s: %w", t.what, ErrNoForward)
	}
	return d, nil
}
