package ring_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"unsafe"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// whole runs all ranks of a call and puts their rows together: out, dQ, dK, dV over the sequence, and dSinks.
func whole(t *testing.T, c ring.Call) [5][]float64 {
	t.Helper()
	all, err := wholeOf[float64](t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func wholeOf[T kernel.Float](ctx context.Context, c ring.Call) (all [5][]float64, err error) {
	size, c := c.Sharding.Ranks(), c.Prepare()
	widths := [4]int{c.Heads * c.ValueDim, c.Heads * c.Dim, c.KVHeads * c.Dim, c.KVHeads * c.ValueDim}
	for i, w := range widths {
		all[i] = make([]float64, c.Sharding.Tokens()*w)
	}
	sinks := make([][]float64, size)
	err = local.Run(ctx, size, dist.Options{}, func(ctx context.Context, comm *dist.Comm) error {
		r, err := ring.NewRank[T](comm, c)
		if err != nil {
			return err
		}
		in, dOut := inputs[T](c, comm.Rank())
		in.Step = 7
		for h := range c.Heads {
			if c.Sinks {
				in.Sinks = append(in.Sinks, T(h)/2)
			}
		}
		s, err := r.Forward(ctx, in)
		if err != nil {
			return err
		}
		g, err := r.Backward(ctx, in, s, dOut)
		if err != nil {
			return err
		}
		sinks[comm.Rank()] = wide(g.DSinks)
		for i, x := range [][]T{s.Out(), g.DQ, g.DK, g.DV} {
			shard.Gather(c.Sharding, comm.Rank(), wide(x), all[i], widths[i])
		}
		return sendsAsPlanned(comm, c, int(unsafe.Sizeof(*new(T))))
	})
	all[4] = make([]float64, c.Heads)
	for _, s := range sinks {
		for h, x := range s {
			all[4][h] += x
		}
	}
	return all, err
}

func wide[T kernel.Float](x []T) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

// sendsAsPlanned compares a rank's ledger with the plan's, which bounds hops by W-1.
func sendsAsPlanned(comm *dist.Comm, c ring.Call, element int) error {
	rank, size := comm.Rank()/max(c.Ulysses, 1), comm.Size()/max(c.Ulysses, 1)
	want, got := c.Plan().Sends(rank, element), comm.Ledger().Snapshot()
	exchanged := got[dist.Ulysses]
	if exchanged.Wait = 0; exchanged != c.Exchange(comm.Rank(), element) {
		return fmt.Errorf("rank %d exchanged %+v, planned %+v", comm.Rank(), exchanged, c.Exchange(comm.Rank(), element))
	}
	hops := map[dist.Kind]int{}
	for k, e := range got {
		if k == dist.Ulysses || k == dist.Collective {
			continue
		}
		e.Wait = 0
		if e != want[k] {
			return fmt.Errorf("rank %d sent %s %+v, planned %+v", comm.Rank(), k, e, want[k])
		}
		delete(want, k)
		hops[inner(k)] += e.Hops
	}
	for k, e := range want {
		return fmt.Errorf("rank %d sent no %s, planned %+v", comm.Rank(), k, e)
	}
	for k, n := range hops {
		if n > size-1 {
			return fmt.Errorf("rank %d made %d hops of %s in a ring of %d", comm.Rank(), n, k, size)
		}
	}
	return nil
}

// inner is the kind of an outer kind.
func inner(k dist.Kind) dist.Kind {
	for _, i := range []dist.Kind{dist.ForwardKV, dist.BackwardKV, dist.BackwardDKV, dist.ForwardQ, dist.ForwardCarry, dist.BackwardQ, dist.BackwardDQ} {
		if k == i.Outer() {
			return i
		}
	}
	return k
}

func requireClose(t *testing.T, what string, got, want [5][]float64) {
	t.Helper()
	if err := differ(got, want, 1e-12); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// differ says which result is off by more than a share of the largest magnitude.
func differ(got, want [5][]float64, limit float64) error {
	var errs []error
	for i, x := range got {
		largest, worst := 1e-3, 0.0
		for j, w := range want[i] {
			largest = max(largest, math.Abs(w))
			if d := math.Abs(x[j] - w); !(d <= worst) {
				worst = d // NaN too
			}
		}
		if !(worst <= limit*largest) {
			errs = append(errs, fmt.Errorf("%s is off by %.3g of %.3g", []string{"out", "dQ", "dK", "dV", "dSinks"}[i], worst, largest))
		}
	}
	return errors.Join(errs...)
}

// masked is a call with everything that a call can have.
func masked(t *testing.T, tokens int) ring.Call {
	t.Helper()
	m, err := mask.New(mask.Spec{Causal: true, Window: &mask.Window{Left: tokens / 2, Right: -1}, CuSeqlens: []int{0, tokens / 3, tokens / 3, (tokens + 3) / 3, (tokens + 2) / 2, tokens}}, tokens)
	if err != nil {
		t.Fatal(err)
	}
	c := newCall(t, shard.Contiguous, tokens, 1)
	c.Heads, c.KVHeads = 8, 4
	c.Mask, c.Softcap, c.Sinks, c.Dropout = m, 2, true, ring.Dropout{P: 0.2, Seed: 3, Layer: 1}
	for h := range c.Heads {
		c.Slopes = append(c.Slopes, math.Exp2(-float64(h)))
	}
	return c
}

// ways are those through a ring of so many ranks.
func ways(size int) map[string]func(c *ring.Call) {
	w := map[string]func(c *ring.Call){
		"keys travel":    func(c *ring.Call) { c.Travel = ring.KV },
		"queries travel": func(c *ring.Call) { c.Travel = ring.Q },
		"auto":           func(c *ring.Call) { c.Travel = ring.Auto },
	}
	if size%2 == 0 {
		w["double ring"] = func(c *ring.Call) { c.Inner = 2 }
		w["double ring, queries travel"] = func(c *ring.Call) { c.Inner, c.Travel = size/2, ring.Q }
		w["Ulysses hybrid"] = func(c *ring.Call) { c.Ulysses = 2 }
		w["Ulysses hybrid, queries travel"] = func(c *ring.Call) { c.Ulysses, c.Travel = 2, ring.Q }
	}
	if size == 4 {
		w["Ulysses"] = func(c *ring.Call) { c.Ulysses = 4 }
	}
	if size == 8 {
		w["Ulysses around a double ring"] = func(c *ring.Call) { c.Ulysses, c.Inner = 2, 2 }
	}
	return w
}

func TestEveryWayThroughTheRingGivesTheSame(t *testing.T) {
	for _, tokens := range []int{1, 9, 41} {
		c := masked(t, tokens)
		want := whole(t, c)
		for _, size := range []int{1, 2, 3, 4, 6, 8} {
			for _, layout := range shard.Layouts() {
				for name, way := range ways(size) {
					c := c
					c.Sharding, _ = shard.New(layout, tokens, size)
					way(&c)
					requireClose(t, fmt.Sprintf("%d tokens, ring of %d, %s, %s", tokens, size, layout, name), whole(t, c), want)
				}
			}
		}
	}
}
