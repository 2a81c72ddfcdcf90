package ring

import (
	"context"
	"fmt"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
	"github.com/ringgrad/ringgrad/ops/ringattn/internal/seam"
)

// CheckBFloat16 returns ErrNoBFloat16, with the instruction set in use, where Call.BFloat16 cannot be honoured.
func CheckBFloat16() error {
	if _, err := cpu.NewBFloat16(); err != nil {
		return fmt.Errorf("ring: %w", err)
	}
	return nil
}

// Inputs are one rank's rows, token-major and dense: Q [B,S,H,D], K [B,S,K,D], V [B,S,K,Dv]. The ring reads them and
// never writes or keeps them.
type Inputs[T kernel.Float] struct{ Q, K, V []T }

// Gradients are those of one rank's rows, shaped as Inputs and owned by the caller.
type Gradients[T kernel.Float] struct{ DQ, DK, DV []T }

// Rank is one rank's part in an attention call that may be run many times, one run at a time.
type Rank[T kernel.Float] struct {
	call   Call
	comm   *dist.Comm
	kernel kernel.Attention[T]
	packer kernel.Packer[T] // of keys and values; nil where they travel as they are
	rank   int
	size   int
	rows   int // S
}

// ErrNoBFloat16 says that Call.BFloat16 is set where the processor, or the instruction set in use, has no such arithmetic.
var ErrNoBFloat16 = cpu.ErrNoBFloat16

// NewRank returns the part of comm's rank in the call; a nil comm is a ring of one. The sharding must have as many ranks
// as comm.
func NewRank[T kernel.Float](comm *dist.Comm, call Call) (*Rank[T], error) {
	if err := call.Validate(); err != nil {
		return nil, err
	}
	k, err := kernelOf[T](call)
	if err != nil {
		return nil, err
	}
	r := &Rank[T]{call: call, comm: comm, kernel: k, size: 1}
	r.packer, _ = k.(kernel.Packer[T])
	if comm != nil {
		r.rank, r.size = comm.Rank(), comm.Size()
	}
	if n := call.Sharding.Ranks(); n != r.size {
		return nil, fmt.Errorf("ring: the sharding is over %d ranks, the communicator has %d", n, r.size)
	}
	r.rows = call.Sharding.Len(r.rank)
	return r, nil
}

func kernelOf[T kernel.Float](call Call) (kernel.Attention[T], error) {
	if !call.BFloat16 {
		return cpu.New[T](), nil
	}
	k, err := cpu.NewBFloat16()
	if err != nil {
		return nil, fmt.Errorf("ring: %w", err)
	}
	of, ok := k.(kernel.Attention[T])
	if !ok {
		return nil, fmt.Errorf("ring: bfloat16 attention takes float32, not %T", *new(T))
	}
	return of, nil
}

// Rows is S, the number of positions this rank holds of every sequence.
func (r *Rank[T]) Rows() int { return r.rows }

func (r *Rank[T]) check(in Inputs[T]) error {
	for _, c := range []struct {
		name      string
		got, want int
	}{
		{"q", len(in.Q), r.call.qLen(r.rows)},
		{"k", len(in.K), r.call.kLen(r.rows)},
		{"v", len(in.V), r.call.vLen(r.rows)},
	} {
		if c.got != c.want {
			return fmt.Errorf("ring: rank %d: %s has %d elements, want %d for %d rows", r.rank, c.name, c.got, c.want, r.rows)
		}
	}
	return nil
}

// run is one pass: the rank with the context and the hooks of this pass.
type run[T kernel.Float] struct {
	*Rank[T]
	kernel kernel.Attention[T]
	shift  func(c *dist.Comm, m dist.Move, b []T, recvLen int) seam.Pending[T]
}

func (r *Rank[T]) begin(ctx context.Context) run[T] {
	p := run[T]{Rank: r, kernel: r.kernel, shift: shift[T]}
	h := seam.From[T](ctx)
	if h.Kernel != nil {
		p.kernel = h.Kernel(r.kernel)
	}
	if h.Shift != nil {
		p.shift = h.Shift
	}
	return p
}

func shift[T kernel.Float](c *dist.Comm, m dist.Move, b []T, recvLen int) seam.Pending[T] {
	return dist.Shift(c, m, b, recvLen)
}

// packKV lays this rank's keys and values out as one message, [K,S,D] and behind it [K,S,Dv], each packed where the kernel
// wants that. The message is fresh on every pass, because engines may lend its memory to all other ranks for as long as the
// pass lasts.
func (r *Rank[T]) packKV(in Inputs[T]) []T {
	kv := make([]T, r.call.kvLen(r.rows))
	k, v := r.split(kv, r.rank)
	c := r.call
	toHeads(k, in.K, dims{c.Batch, r.rows, c.KVHeads, c.Dim})
	toHeads(v, in.V, dims{c.Batch, r.rows, c.KVHeads, c.ValueDim})
	if r.packer == nil {
		return kv
	}
	packed := make([]T, r.messageLen(r.rank))
	packedK, packedV := r.splitKV(packed, r.rank)
	r.packer.Pack(packedK, k)
	r.packer.Pack(packedV, v)
	return packed
}

// packedLen is how many T hold n elements of keys or values.
func (r *Rank[T]) packedLen(n int) int {
	if r.packer == nil {
		return n
	}
	return r.packer.PackedLen(n)
}

// messageLen is the length of the message with the keys and values of the given rank's block.
func (r *Rank[T]) messageLen(rank int) int {
	s := r.call.Sharding.Len(rank)
	return r.packedLen(r.call.kLen(s)) + r.packedLen(r.call.vLen(s))
}

// splitKV cuts the message of the given rank's block into its keys and its values.
func (r *Rank[T]) splitKV(kv []T, rank int) (k, v []T) {
	n := r.packedLen(r.call.kLen(r.call.Sharding.Len(rank)))
	return kv[:n:n], kv[n:]
}

// split cuts an array of the given rank's block into what belongs to its keys and to its values: dK and dV.
func (r *Rank[T]) split(kv []T, rank int) (k, v []T) {
	n := r.call.kLen(r.call.Sharding.Len(rank))
	return kv[:n:n], kv[n:]
}
