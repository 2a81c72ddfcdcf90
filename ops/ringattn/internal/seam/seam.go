// Package seam lets the tests of the gradient check plant faults in the ring: a context may carry a wrapper for the
// block kernel and a replacement for the transfers between ranks. Production contexts carry neither, and no code outside this
// module's tests can make one that does.
package seam

import (
	"context"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// Pending is a block that is on its way; dist.Pending is the real one.
type Pending[T dist.Number] interface {
	// Wait blocks until the block has arrived and returns it.
	Wait(ctx context.Context) ([]T, error)
}

// Hooks are the two places where a ring touches the world. The zero value changes nothing.
type Hooks[T kernel.Float] struct {
	// Kernel, when set, replaces the kernel of one rank by what it returns.
	Kernel func(k kernel.Attention[T]) kernel.Attention[T]
	// Transfer, when set, replaces dist.SendRecv.
	Transfer func(c *dist.Comm, x dist.Exchange, b []T, recvLen int) Pending[T]
}

type key[T kernel.Float] struct{}

// With returns a context that carries the hooks for the rings of element type T.
func With[T kernel.Float](ctx context.Context, h Hooks[T]) context.Context {
	return context.WithValue(ctx, key[T]{}, h)
}

// From returns the hooks that the context carries: the zero value for every context but a test's.
func From[T kernel.Float](ctx context.Context) Hooks[T] {
	h, _ := ctx.Value(key[T]{}).(Hooks[T])
	return h
}
