package dist_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ranks runs f on n local ranks and wants no error.
func ranks(t *testing.T, n int, f func(ctx context.Context, c *dist.Comm) error) {
	t.Helper()
	if err := local.Run(t.Context(), n, dist.Options{}, f); err != nil {
		t.Fatal(err)
	}
}

func TestLedgerCountsHopsTensorsAndBytesByKind(t *testing.T) {
	for n := 1; n <= 8; n++ {
		ranks(t, n, func(ctx context.Context, c *dist.Comm) error {
			block := make([]float64, 10)
			for hop := range n - 1 {
				var err error
				if block, err = dist.Shift(c, dist.Move{Kind: dist.ForwardKV, Tensors: 2, Hop: hop, Step: 1}, block, 10).Wait(ctx); err != nil {
					return err
				}
			}
			if _, err := dist.Shift(c, dist.Move{Kind: "mine", Tensors: 1, Step: -1}, []int32{1}, 1).Wait(ctx); err != nil {
				return err
			}
			got := c.Ledger().Snapshot()
			if f := got[dist.ForwardKV]; f.Hops != n-1 || f.Tensors != 2*(n-1) || f.Bytes != int64(80*(n-1)) {
				return fmt.Errorf("%d ranks: forward_kv %+v", n, f)
			}
			if m := got["mine"]; n > 1 && (m.Hops != 1 || m.Tensors != 1 || m.Bytes != 4) {
				return fmt.Errorf("own kind %+v", m)
			}
			if total := c.Ledger().Total(); n > 1 && total.Hops != n || n == 1 && total != (dist.Entry{}) {
				return fmt.Errorf("%d ranks: total %+v", n, total)
			}
			c.Ledger().Reset()
			if left := c.Ledger().Snapshot(); len(left) != 0 {
				return fmt.Errorf("after Reset: %v", left)
			}
			return nil
		})
	}
}

// Two rounds of W-1 parts: 2(W-1)/W of the slice.
func TestAllReduceSendsTwoParts(t *testing.T) {
	ranks(t, 4, func(ctx context.Context, c *dist.Comm) error {
		if err := dist.AllReduce(ctx, c, make([]float32, 400)); err != nil {
			return err
		}
		if e := c.Ledger().Snapshot()[dist.Collective]; e.Hops != 1 || e.Bytes != 2*3*100*4 {
			return fmt.Errorf("got %+v", e)
		}
		return nil
	})
}

// Only time that compute did not hide counts: rank 1 is 5 s late for rank 0, and waits for nobody.
func TestLedgerBooksTheTimeBlocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ranks(t, 2, func(ctx context.Context, c *dist.Comm) error {
			time.Sleep(time.Duration(c.Rank()) * 5 * time.Second)
			p := dist.Shift(c, dist.Move{Kind: dist.BackwardKV, Step: 1}, []byte{1}, 1)
			if _, err := p.Wait(ctx); err != nil {
				return err
			}
			want := time.Duration(1-c.Rank()) * 5 * time.Second
			if got := c.Ledger().Snapshot()[dist.BackwardKV].Wait; got != want {
				return fmt.Errorf("rank %d was blocked for %v, want %v", c.Rank(), got, want)
			}
			return nil
		})
	})
}

func TestARingOfOneReturnsTheBlock(t *testing.T) {
	ranks(t, 1, func(ctx context.Context, c *dist.Comm) error {
		b := []float32{1, 2}
		got, err := dist.Shift(c, dist.Move{Kind: dist.ForwardKV, Step: 1}, b, 2).Wait(ctx)
		if err != nil || &got[0] != &b[0] {
			return fmt.Errorf("got %v, %w", got, err)
		}
		if _, err = dist.Shift(c, dist.Move{Kind: dist.ForwardKV, Step: 1}, b, 3).Wait(ctx); !errors.Is(err, dist.ErrSize) {
			return fmt.Errorf("a length of 3 for 2 gave %w", err)
		}
		return nil
	})
}

// A step of 2 in a ring of 4 is what the outer level of a double ring takes.
func TestStepsMayBeLonger(t *testing.T) {
	ranks(t, 4, func(ctx context.Context, c *dist.Comm) error {
		got, err := dist.Shift(c, dist.Move{Kind: dist.ForwardKV, Step: -6}, []int64{int64(c.Rank())}, 1).Wait(ctx)
		if err != nil || got[0] != int64((c.Rank()+2)%4) {
			return fmt.Errorf("got %v, %w", got, err)
		}
		return nil
	})
}

func TestBlocksOfTheWrongLengthAreAnErrorThatNamesAll(t *testing.T) {
	err := local.Run(t.Context(), 3, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		b := make([]float32, 4+c.Rank()) // rank 0 sends 4 elements, all want 5
		_, err := dist.Shift(c, dist.Move{Kind: dist.BackwardDKV, Hop: 7, Step: 1}, b, 5).Wait(ctx)
		return err
	})
	var e *dist.Error
	if !errors.Is(err, dist.ErrSize) || !errors.As(err, &e) || e.Kind != dist.BackwardDKV || e.Hop != 7 {
		t.Fatalf("got %v", err)
	}
	if !strings.Contains(err.Error(), "backward_dkv hop 7: ") || !strings.Contains(err.Error(), " bytes sent, 20 wanted") {
		t.Errorf("got %q", err)
	}
}

// Lengths that differ by little, by one part, or by all must not go through, nor hang.
func TestAllReduceRefusesUnequalLengths(t *testing.T) {
	for _, n := range []int{2, 3, 5} {
		for usual := range 8 {
			for odd := range 8 {
				err := local.Run(t.Context(), n, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
					length := usual
					if c.Rank() == n/2 {
						length = odd
					}
					return dist.AllReduce(ctx, c, make([]float32, length))
				})
				if usual == odd && err != nil || usual != odd && !errors.Is(err, dist.ErrSize) {
					t.Errorf("%d ranks, lengths %d and %d: got %v", n, usual, odd, err)
				}
			}
		}
	}
}

func TestRanksOutsideTheGroupAreErrors(t *testing.T) {
	ranks(t, 2, func(ctx context.Context, c *dist.Comm) error {
		_, err := dist.SendRecv(c, dist.Exchange{Kind: dist.ForwardKV, To: 2, From: 0}, []byte{1}, 1).Wait(ctx)
		if want := "dist: rank 2 is not in a group of 2: use 0 to 1"; err == nil || err.Error() != want {
			return fmt.Errorf("got %w, want %s", err, want)
		}
		if err := dist.Broadcast(ctx, c, []byte{1}, -1); err == nil {
			return errors.New("broadcast from rank -1 went through")
		}
		return nil
	})
}

// Ranks that call in different order are told so, with what each of them waits for.
func TestCallsInDifferentOrderAreACycle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := local.Run(t.Context(), 2, dist.Options{Timeout: time.Minute}, func(ctx context.Context, c *dist.Comm) error {
			if c.Rank() == 0 {
				return dist.Barrier(ctx, c)
			}
			return dist.AllReduce(ctx, c, []float32{1})
		})
		var late *dist.Late
		if !errors.As(err, &late) || !late.Cycle {
			t.Fatalf("got %v", err)
		}
		for _, want := range []string{
			"rank 0 waits to receive barrier (call 1) from rank 1",
			"rank 1 waits to receive allreduce (call 1) from rank 0",
			"they wait for each other",
		} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not tell %q", err, want)
			}
		}
	})
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cause := errors.New("SIGTERM")
		err := local.Run(t.Context(), 2, dist.Options{Timeout: time.Hour}, func(ctx context.Context, c *dist.Comm) error {
			if c.Rank() == 1 {
				<-ctx.Done()
				return nil
			}
			ctx, cancel := context.WithTimeoutCause(ctx, time.Minute, cause)
			defer cancel()
			return dist.Barrier(ctx, c)
		})
		if !errors.Is(err, cause) || errors.Is(err, dist.ErrTimeout) || !strings.Contains(err.Error(), "rank 0: barrier: receive from rank 1") {
			t.Fatalf("got %v", err)
		}
	})
}

// limited is an engine with the tags that MPI promises.
type limited struct{ dist.Engine }

func (limited) MaxTag() int { return 32767 }

func TestSplitEndsWhereTheTagsDo(t *testing.T) {
	opts := dist.Options{Wrap: func(e dist.Engine) dist.Engine { return limited{e} }}
	err := local.Run(t.Context(), 2, opts, func(ctx context.Context, c *dist.Comm) error {
		for i := range 100 {
			if _, err := dist.Split(ctx, c, 0, 0); err != nil {
				if i < 31 {
					return fmt.Errorf("only %d groups: %w", i, err)
				}
				return err
			}
		}
		return nil
	})
	want := "dist: split number 32 needs tags up to 33791, the engine has 32767: make groups once and keep them"
	if err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}
