package local_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
)

var errRank = errors.New("loss is NaN")

// inRing keeps a rank in the ring until somebody fails.
func inRing(ctx context.Context, c *dist.Comm) error {
	for hop := 0; ; hop++ {
		if _, err := dist.Shift(c, dist.Move{Kind: dist.ForwardKV, Hop: hop, Step: 1}, []float32{1}, 1).Wait(ctx); err != nil {
			return fmt.Errorf("layer 3: %w", err)
		}
	}
}

func TestRunGivesTheFirstCauseWithItsRank(t *testing.T) {
	for n := 1; n <= 5; n++ {
		synctest.Test(t, func(t *testing.T) {
			err := local.Run(t.Context(), n, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
				if c.Rank() == n-1 {
					time.Sleep(time.Second)
					return errRank
				}
				return inRing(ctx, c)
			})
			want := fmt.Sprintf("rank %d: loss is NaN", n-1)
			if n == 1 {
				want = "loss is NaN"
			}
			if !errors.Is(err, errRank) || err.Error() != want {
				t.Errorf("%d ranks: got %q, want %q", n, err, want)
			}
		})
	}
}

func TestRunTurnsAPanicIntoAnErrorWithItsStack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := local.Run(t.Context(), 3, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
			if c.Rank() == 1 {
				panic(errRank)
			}
			return inRing(ctx, c)
		})
		var p *local.PanicError
		if !errors.As(err, &p) || p.Rank != 1 || !errors.Is(err, errRank) {
			t.Fatalf("got %v", err)
		}
		for _, want := range []string{"rank 1 panicked: loss is NaN", "run_test.go"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not tell %q", err, want)
			}
		}
	})
}

func TestRunSurvivesGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := local.Run(t.Context(), 3, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
			if c.Rank() == 2 {
				runtime.Goexit()
			}
			return inRing(ctx, c)
		})
		if err == nil || !strings.Contains(err.Error(), "rank 2: local: rank ended by runtime.Goexit") {
			t.Fatalf("got %v", err)
		}
	})
}

func TestARankThatReturnsEarlyIsLostToThoseThatWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := local.Run(t.Context(), 4, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
			if c.Rank() == 1 {
				return nil
			}
			return dist.Barrier(ctx, c)
		})
		var e *dist.Error
		if !errors.Is(err, dist.ErrPeerLost) || !errors.As(err, &e) || e.Peer != 1 {
			t.Fatalf("got %v", err)
		}
		if text := err.Error(); !strings.Contains(text, ": barrier: ") || !strings.HasSuffix(text, " rank 1: peer lost: rank 1 has left") {
			t.Errorf("got %q", text)
		}
	})
}

func TestRunEndsWithItsContext(t *testing.T) {
	signal := errors.New("interrupt")
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Minute, func() { cancel(signal) })
		err := local.Run(ctx, 4, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
			if c.Rank() == 0 { // computes, and looks at its context
				<-ctx.Done()
				return ctx.Err()
			}
			// waits, and does not: the world frees it
			_, err := dist.Shift(c, dist.Move{Step: 1}, []byte{1}, 1).Wait(context.Background())
			return err
		})
		if !errors.Is(err, context.Canceled) || !errors.Is(err, signal) {
			t.Fatalf("got %v", err)
		}
	})
}

func TestRunIsFineIfAllRanksAre(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := local.Run(ctx, 2, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		if err := dist.Barrier(ctx, c); err != nil {
			return err
		}
		cancel() // too late to matter
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRunKnowsTheContextThatHadEndedBefore(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	err := local.Run(ctx, 3, dist.Options{}, func(ctx context.Context, c *dist.Comm) error { return dist.Barrier(ctx, c) })
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
}

func TestAnAbortByARankIsTheResultEvenIfAllReturnNil(t *testing.T) {
	err := local.Run(t.Context(), 2, dist.Options{}, func(_ context.Context, c *dist.Comm) error {
		if c.Rank() == 0 {
			c.Abort(errRank)
		}
		return nil
	})
	if !errors.Is(err, errRank) {
		t.Fatalf("got %v", err)
	}
}

func TestAbortEndsTheContextOfRanksThatCompute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := local.Run(t.Context(), 2, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
			if c.Rank() == 0 {
				return errRank
			}
			<-ctx.Done()
			return context.Cause(ctx)
		})
		if !errors.Is(err, errRank) || errors.Is(err, dist.ErrAborted) {
			t.Fatalf("got %v", err)
		}
	})
}

// Words that a rank puts round the watchdog's error are kept, the rank is not named twice.
func TestWatchdogNamesTheLateRankThroughRun(t *testing.T) {
	for late := range 4 {
		synctest.Test(t, func(t *testing.T) {
			err := local.Run(t.Context(), 4, dist.Options{Timeout: 30 * time.Second}, func(ctx context.Context, c *dist.Comm) error {
				if c.Rank() == late {
					select { // computes
					case <-time.After(time.Hour):
					case <-ctx.Done():
					}
				}
				return inRing(ctx, c)
			})
			var who *dist.Late
			if !errors.Is(err, dist.ErrTimeout) || !errors.As(err, &who) || who.Rank != late || who.Cycle {
				t.Fatalf("rank %d was late: got %v", late, err)
			}
			want := fmt.Sprintf("within 30s; rank %d is late (it waits for nobody: computing or stuck", late)
			if !strings.HasPrefix(err.Error(), "layer 3: dist: rank ") || !strings.Contains(err.Error(), want) {
				t.Errorf("got %q, want %q", err, want)
			}
		})
	}
}

func TestRunNeedsARank(t *testing.T) {
	err := local.Run(t.Context(), 0, dist.Options{}, nil)
	if err == nil || !strings.Contains(err.Error(), "a world of 0 ranks: give 1 or more") {
		t.Fatalf("got %v", err)
	}
}

func TestRunsNest(t *testing.T) {
	err := local.Run(t.Context(), 3, dist.Options{}, func(ctx context.Context, outer *dist.Comm) error {
		sum := []int64{1}
		err := local.Run(ctx, 2, dist.Options{}, func(ctx context.Context, inner *dist.Comm) error {
			own := []int64{1}
			if err := dist.AllReduce(ctx, inner, own); err != nil {
				return err
			}
			if inner.Rank() == 0 {
				sum[0] = own[0]
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := dist.AllReduce(ctx, outer, sum); err != nil {
			return err
		}
		if sum[0] != 6 {
			return fmt.Errorf("sum %d, want 6", sum[0])
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Nobody leaves a barrier before all have come.
func TestBarrierHoldsUntilTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 7
		var come atomic.Int64
		err := local.Run(t.Context(), n, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
			time.Sleep(time.Duration(c.Rank()*5%n) * time.Second)
			come.Add(1)
			if err := dist.Barrier(ctx, c); err != nil {
				return err
			}
			if got := come.Load(); got != n {
				return fmt.Errorf("left when %d of %d had come", got, n)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
