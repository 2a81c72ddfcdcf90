package dist_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
)

// equalParts is one part of n elements for each of size members, and their lengths.
func equalParts(size, n int) (parts [][]float32, lens []int) {
	for range size {
		parts, lens = append(parts, make([]float32, n)), append(lens, n)
	}
	return parts, lens
}

func TestAllToAllCountsTheExchangesOfItsKind(t *testing.T) {
	for n := 1; n <= 5; n++ {
		ranks(t, n, func(ctx context.Context, c *dist.Comm) error {
			parts, lens := equalParts(n, 10)
			if _, err := dist.AllToAll(ctx, c, dist.Ulysses, parts, lens); err != nil {
				return err
			}
			e := c.Ledger().Snapshot()[dist.Ulysses]
			if e.Hops != n-1 || e.Tensors != n-1 || e.Bytes != int64(40*(n-1)) || c.Ledger().Total() != e {
				return fmt.Errorf("%d ranks: %+v, in all %+v", n, e, c.Ledger().Total())
			}
			return nil
		})
	}
}

// Rank 0 has nothing for anybody: it sends nothing, and the others send it their parts.
func TestAllToAllSendsNoEmptyParts(t *testing.T) {
	ranks(t, 3, func(ctx context.Context, c *dist.Comm) error {
		parts, lens := equalParts(3, 4)
		lens[0] = 0
		if c.Rank() == 0 {
			parts = make([][]float32, 3)
		}
		all, err := dist.AllToAll(ctx, c, dist.Ulysses, parts, lens)
		if err != nil {
			return err
		}
		hops := 2
		if c.Rank() == 0 {
			hops = 0
		}
		if e := c.Ledger().Snapshot()[dist.Ulysses]; e.Hops != hops || len(all[0]) != 0 || len(all[1]) != 4 {
			return fmt.Errorf("rank %d: %+v, lengths %d and %d", c.Rank(), e, len(all[0]), len(all[1]))
		}
		return nil
	})
}

func TestAllToAllPassesTheOwnPartThrough(t *testing.T) {
	ranks(t, 2, func(ctx context.Context, c *dist.Comm) error {
		parts, lens := equalParts(2, 3)
		all, err := dist.AllToAll(ctx, c, dist.Ulysses, parts, lens)
		if err != nil || &all[c.Rank()][0] != &parts[c.Rank()][0] {
			return fmt.Errorf("the own part was copied, or %w", err)
		}
		return nil
	})
}

func TestAllToAllNamesWrongLengths(t *testing.T) {
	for name, c := range map[string]struct {
		change func(rank int, parts [][]float32, lens []int) ([][]float32, []int)
		is     error
		want   string
	}{
		"from another rank": {func(rank int, p [][]float32, n []int) ([][]float32, []int) {
			if rank == 1 {
				n[0] = 5
			}
			return p, n
		}, dist.ErrSize, "16 bytes sent, 20 wanted"},
		"from itself": {func(rank int, p [][]float32, n []int) ([][]float32, []int) {
			n[rank] = 5
			return p, n
		}, dist.ErrSize, "4 elements sent, 5 wanted"},
		"a part too few": {func(_ int, p [][]float32, n []int) ([][]float32, []int) { return p[1:], n }, nil,
			"dist: alltoall of 1 parts and 2 lengths in a group of 2: give one of each a member"},
		"a length too many": {func(_ int, p [][]float32, n []int) ([][]float32, []int) { return p, append(n, 1) }, nil, "2 parts and 3 lengths"},
	} {
		err := local.Run(t.Context(), 2, dist.Options{}, func(ctx context.Context, comm *dist.Comm) error {
			parts, lens := equalParts(2, 4)
			parts, lens = c.change(comm.Rank(), parts, lens)
			_, err := dist.AllToAll(ctx, comm, dist.Ulysses, parts, lens)
			return err
		})
		if err == nil || c.is != nil && !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
		if c.is != nil && !strings.Contains(err.Error(), "ulysses alltoall: ") {
			t.Errorf("%s: %q does not say what travelled", name, err)
		}
	}
}

func TestTheWatchdogNamesTheRankThatIsLateForAllToAll(t *testing.T) {
	for late := range 4 {
		synctest.Test(t, func(t *testing.T) {
			err := local.Run(t.Context(), 4, dist.Options{Timeout: 30 * time.Second}, func(ctx context.Context, c *dist.Comm) error {
				if c.Rank() == late {
					<-ctx.Done()
					return nil
				}
				parts, lens := equalParts(4, 2)
				_, err := dist.AllToAll(ctx, c, dist.Ulysses, parts, lens)
				return err
			})
			var who *dist.Late
			if !errors.As(err, &who) || who.Rank != late || who.Cycle || !strings.Contains(err.Error(), "ulysses alltoall: ") {
				t.Errorf("rank %d was late: got %v", late, err)
			}
		})
	}
}

// A rank that is a call ahead is not taken for one that is on time.
func TestAllToAllOfAnotherCallIsNotTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := local.Run(t.Context(), 2, dist.Options{Timeout: time.Minute}, func(ctx context.Context, c *dist.Comm) error {
			parts, lens := equalParts(2, 2)
			if c.Rank() == 0 { // a call in which nothing travels
				if _, err := dist.AllToAll(ctx, c, dist.Ulysses, make([][]float32, 2), make([]int, 2)); err != nil {
					return err
				}
			}
			_, err := dist.AllToAll(ctx, c, dist.Ulysses, parts, lens)
			return err
		})
		if err == nil || !strings.Contains(err.Error(), "rank 1 waits to receive alltoall (call 1) from rank 0") {
			t.Errorf("got %v", err)
		}
	})
}
