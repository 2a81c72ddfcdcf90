package disttest_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/disttest"
	"github.com/ringgrad/ringgrad/dist/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	size    = 4
	victim  = 2
	timeout = 30 * time.Second
)

// job is the traffic of one training step on a ring: forward, backward with two kinds under way at a time, a reduction. It gives
// a number that depends on all that travelled.
func job(ctx context.Context, c *dist.Comm) (float32, error) {
	block, grad := []float32{float32(c.Rank()) + 0.1}, []float32{0}
	total := []float32{0, 1, 2, 3, 4}
	for hop := range c.Size() - 1 {
		var err error
		if block, err = dist.Shift(c, dist.Move{Kind: dist.ForwardKV, Tensors: 2, Hop: hop, Step: 1}, block, 1).Wait(ctx); err != nil {
			return 0, err
		}
		total[0] = total[0]*1.3 + block[0]
	}
	for hop := range c.Size() - 1 {
		kv := dist.Shift(c, dist.Move{Kind: dist.BackwardKV, Tensors: 2, Hop: hop, Step: -1}, block, 1)
		dkv := dist.Shift(c, dist.Move{Kind: dist.BackwardDKV, Tensors: 2, Hop: hop, Step: -1}, grad, 1)
		var err error
		if block, err = kv.Wait(ctx); err != nil {
			return 0, err
		}
		if grad, err = dkv.Wait(ctx); err != nil {
			return 0, err
		}
		grad[0] += total[0] * block[0]
	}
	total[1] = grad[0]
	if err := dist.AllReduce(ctx, c, total); err != nil {
		return 0, err
	}
	if err := dist.Broadcast(ctx, c, total[2:], 1); err != nil {
		return 0, err
	}
	return total[0] + total[1], dist.Barrier(ctx, c)
}

// outcome of a job with faults at the victim, on a world that is plain or checked.
type outcome struct {
	results [size]float32
	err     error
	took    time.Duration
}

func run(t *testing.T, f disttest.Faults, check bool) (o outcome) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		o.err = local.Run(t.Context(), size, dist.Options{Timeout: timeout, Wrap: func(e dist.Engine) dist.Engine {
			faults := disttest.Faults{MaxDelay: f.MaxDelay, Seed: f.Seed}
			if e.Rank() == victim {
				faults = f
			}
			e = disttest.Faulty(e, faults)
			if check {
				e = disttest.Checked(e)
			}
			return e
		}}, func(ctx context.Context, c *dist.Comm) (err error) {
			o.results[c.Rank()], err = job(ctx, c)
			return err
		})
		o.took = time.Since(start)
	})
	return o
}

// sweep runs the job with a fault at every position, until the fault is behind the end of the job, and gives the number of positions.
func sweep(t *testing.T, fault func(at int) disttest.Faults, claim func(at int, o outcome)) int {
	t.Helper()
	for at := 1; ; at++ {
		o := run(t, fault(at), false)
		if o.err == nil {
			if want := run(t, disttest.Faults{}, false); want.results != o.results {
				t.Fatalf("position %d: results %v without an error, want %v", at, o.results, want.results)
			}
			return at - 1
		}
		claim(at, o)
	}
}

func TestDelaysChangeNoBit(t *testing.T) {
	want := run(t, disttest.Faults{}, false)
	for seed := range uint64(20) {
		for _, check := range []bool{false, true} {
			got := run(t, disttest.Faults{Seed: seed, MaxDelay: time.Second}, check)
			if got.err != nil || got.results != want.results {
				t.Fatalf("seed %d: %v, %v; want %v", seed, got.results, got.err, want.results)
			}
		}
	}
}

func TestAbortAtEveryOperationIsTheCause(t *testing.T) {
	positions := sweep(t, func(at int) disttest.Faults { return disttest.Faults{AbortAt: at} }, func(at int, o outcome) {
		if !errors.Is(o.err, disttest.ErrInjected) || o.took > timeout/10 {
			t.Errorf("abort at operation %d: %v after %v", at, o.err, o.took)
		}
	})
	if positions < 6*(size-1) {
		t.Errorf("only %d operations were swept", positions)
	}
}

func TestARankThatDiesAtAnyOperationIsNamed(t *testing.T) {
	sweep(t, func(at int) disttest.Faults { return disttest.Faults{DieAt: at} }, func(at int, o outcome) {
		var late *dist.Late
		if !errors.As(o.err, &late) || late.Rank != victim || o.took > timeout+time.Second {
			t.Errorf("death at operation %d: %v after %v", at, o.err, o.took)
		}
	})
}

// A lost message never leads to a wrong result: the receiver waits for it, whatever comes after. The victim is named as the peer
// that owes the message, unless it has ended (and is lost to its peers then).
func TestALostMessageIsFoundAtItsHop(t *testing.T) {
	sweep(t, func(at int) disttest.Faults { return disttest.Faults{DropSend: at} }, func(at int, o outcome) {
		var late *dist.Late
		var seen *dist.Error
		switch {
		case errors.Is(o.err, dist.ErrPeerLost) && errors.As(o.err, &seen) && seen.Peer == victim:
		case errors.As(o.err, &late) && late.Cycle && slices.ContainsFunc(late.Chain, func(w dist.Waiting) bool { return w.Peer == victim && !w.Sending }):
		default:
			t.Errorf("send %d lost: %v", at, o.err)
		}
		if at == 2 {
			if !strings.Contains(o.err.Error(), "rank 3 waits to receive forward_kv hop 1 from rank 2") || late.Rank != victim {
				t.Errorf("the second forward block of rank 2 was lost: %v", o.err)
			}
		}
	})
}

func TestAChangedMessageIsFoundByItsSum(t *testing.T) {
	clean := run(t, disttest.Faults{}, true)
	found := 0
	for at := 1; ; at++ {
		o := run(t, disttest.Faults{Seed: uint64(at), CorruptSend: at}, true)
		if o.err == nil {
			if o.results != clean.results {
				t.Fatalf("send %d was changed, and nobody saw it", at)
			}
			break // behind the last message
		}
		if !errors.Is(o.err, dist.ErrCorrupt) {
			t.Fatalf("send %d was changed: %v", at, o.err)
		}
		found++
	}
	if found < 3*(size-1) {
		t.Errorf("only %d messages were changed", found)
	}
	// Without sums it goes unseen, which shows that the fault is a fault.
	if o := run(t, disttest.Faults{CorruptSend: 1}, false); o.err != nil || o.results == clean.results {
		t.Errorf("unchecked: %v, %v", o.results, o.err)
	}
}

func ExampleFaulty() {
	drop := func(e dist.Engine) dist.Engine {
		if e.Rank() != 0 {
			return e
		}
		return disttest.Faulty(e, disttest.Faults{DropSend: 1})
	}
	err := local.Run(context.Background(), 2, dist.Options{Timeout: 20 * time.Millisecond, Wrap: drop},
		func(ctx context.Context, c *dist.Comm) error {
			_, err := dist.Shift(c, dist.Move{Kind: dist.ForwardKV, Tensors: 2, Step: 1}, []float32{1}, 1).Wait(ctx)
			return err
		})
	fmt.Println(err)
	// Output:
	// dist: rank 1: forward_kv hop 0: receive from rank 0: peer lost: rank 0 has left
}
