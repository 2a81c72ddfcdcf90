package hosts_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/hosts"
	"github.com/ringgrad/ringgrad/dist/local"
)

var errRank = errors.New("loss is NaN")

// run runs f on n ranks in each of p processes, in a bubble, and gives the errors of the processes.
func run(t *testing.T, p, n int, opts dist.Options, f func(context.Context, *dist.Comm) error) []error {
	t.Helper()
	errs := make([]error, p)
	synctest.Test(t, func(t *testing.T) {
		each(p, func(i int, wire dist.Engine) { errs[i] = hosts.Run(t.Context(), wire, n, opts, f) })
	})
	return errs
}

// inRing keeps a rank in the ring until somebody fails.
func inRing(ctx context.Context, c *dist.Comm) error {
	for hop := 0; ; hop++ {
		if _, err := dist.Shift(c, dist.Move{Kind: dist.ForwardKV, Hop: hop, Step: 1}, []float32{1}, 1).Wait(ctx); err != nil {
			return fmt.Errorf("layer 3: %w", err)
		}
	}
}

func TestEveryProcessGetsTheFirstCause(t *testing.T) {
	for _, n := range []int{1, 2} {
		errs := run(t, 3, n, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
			if c.Rank() == 2*n-1 {
				time.Sleep(time.Second)
				return errRank
			}
			return inRing(ctx, c)
		})
		for process, err := range errs {
			want := fmt.Sprintf("rank %d: loss is NaN", 2*n-1)
			var remote *hosts.Remote
			elsewhere := process != 1
			if !errors.Is(err, errRank) || !strings.HasPrefix(fmt.Sprint(err), want) || errors.As(err, &remote) != elsewhere {
				t.Errorf("process %d of %d ranks: got %v, want %q, of another process: %v", process, n, err, want, elsewhere)
			}
		}
	}
}

func TestAPanicElsewhereIsToldWithItsStack(t *testing.T) {
	errs := run(t, 2, 1, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		if c.Rank() == 1 {
			panic("index out of range")
		}
		return inRing(ctx, c)
	})
	if text := fmt.Sprint(errs[0]); !strings.Contains(text, "rank 1 panicked: index out of range") || !strings.Contains(text, "run_test.go") {
		t.Errorf("got %v", errs[0])
	}
}

// One rank computes for ever; the ranks behind it wait for each other round the ring. Everybody's watchdog is the same.
func TestTheWatchdogNamesTheLateRankAndItsHost(t *testing.T) {
	errs := run(t, 4, 2, dist.Options{Timeout: 10 * time.Second}, func(ctx context.Context, c *dist.Comm) error {
		if c.Rank() == 5 {
			<-ctx.Done()
			return context.Cause(ctx)
		}
		return inRing(ctx, c)
	})
	for process, err := range errs {
		var late *dist.Late
		if !errors.As(err, &late) || late.Rank != 5 || !strings.Contains(err.Error(), "rank 5 is on ") || !strings.Contains(err.Error(), "forward_kv") {
			t.Errorf("process %d: got %v, want rank 5 named with its host and what is missing", process, err)
		}
		var located *hosts.Located
		if !errors.As(err, &located) || located.Process != 2 {
			t.Errorf("process %d: got %#v, want process 2 named", process, located)
		}
	}
}

// A rank that ends early is a cause for those that wait for it; one that has given all it owes is not.
func TestLeavingEarlyEndsTheOthersAndLeavingInTimeDoesNot(t *testing.T) {
	errs := run(t, 3, 1, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		if c.Rank() == 1 {
			return nil
		}
		return inRing(ctx, c)
	})
	for process, err := range errs {
		if !errors.Is(err, dist.ErrPeerLost) {
			t.Errorf("process %d: got %v, want %v", process, err, dist.ErrPeerLost)
		}
	}
	errs = run(t, 3, 2, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		x := []float32{float32(c.Rank())}
		err := dist.Broadcast(ctx, c, x, 4)
		if c.Rank() == 0 {
			time.Sleep(time.Hour) // the others have long been done
		}
		if err == nil && x[0] != 4 {
			err = fmt.Errorf("got %v of rank 4", x[0])
		}
		return err
	})
	for process, err := range errs {
		if err != nil {
			t.Errorf("process %d: %v", process, err)
		}
	}
}

// A process whose wire ends without a word is lost: those who wait for its ranks are told.
func TestAProcessThatDiesEndsTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		errs := make([]error, 3)
		each(3, func(i int, wire dist.Engine) {
			if i == 2 {
				w, err := hosts.Join(t.Context(), wire, 1)
				if err != nil {
					t.Error(err)
				}
				_ = wire.Close()
				_ = w.Close()
				return
			}
			errs[i] = hosts.Run(t.Context(), wire, 1, dist.Options{}, inRing)
		})
		for process, err := range errs[:2] {
			if !errors.Is(err, dist.ErrPeerLost) {
				t.Errorf("process %d: got %v, want %v", process, err, dist.ErrPeerLost)
			}
		}
	})
}

func TestAProcessThatDoesNotLeaveIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		each(2, func(i int, wire dist.Engine) {
			if i == 1 {
				w, err := hosts.Join(t.Context(), wire, 1)
				if err != nil {
					t.Error(err)
				}
				time.Sleep(time.Hour) // stopped, after all work is done
				_ = w.Close()
				return
			}
			err := hosts.Run(t.Context(), wire, 1, dist.Options{Timeout: time.Minute}, func(context.Context, *dist.Comm) error { return nil })
			if !errors.Is(err, dist.ErrTimeout) || !strings.Contains(fmt.Sprint(err), "process 1 on ") {
				t.Errorf("got %v, want process 1 named", err)
			}
		})
	})
}

func TestRanksOfOneProcessLendToEachOtherOnly(t *testing.T) {
	errs := run(t, 2, 2, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		b := []float32{1, 2, 3}
		all, err := dist.AllGather(ctx, c, []int64{int64(c.Rank())})
		if err != nil || len(all) != 4 {
			return fmt.Errorf("gathered %v: %w", all, err)
		}
		pair, err := dist.Split(ctx, c, c.Rank()/2, c.Rank())
		if err != nil {
			return err
		}
		if !pair.InProcess() || c.InProcess() {
			return fmt.Errorf("in process: pair %v, all %v", pair.InProcess(), c.InProcess())
		}
		_, err = dist.Shift(c, dist.Move{Kind: dist.ForwardKV, Step: 1}, b, 3).Wait(ctx)
		return err
	})
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
}

func TestWithoutAWireRunIsLocal(t *testing.T) {
	err := hosts.Run(t.Context(), nil, 3, dist.Options{}, func(ctx context.Context, c *dist.Comm) error { return dist.Barrier(ctx, c) })
	if err != nil {
		t.Error(err)
	}
	if err := hosts.Run(t.Context(), local.NewWorld(1)[0], 0, dist.Options{}, nil); err == nil || !strings.Contains(err.Error(), "give 1 or more") {
		t.Errorf("no ranks: %v", err)
	}
}
