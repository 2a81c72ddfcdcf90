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

// oneWay is an exchange of rank 0 that sends, and of rank 1 that receives.
func oneWay(c *dist.Comm) dist.Exchange {
	x := dist.Exchange{Kind: dist.ForwardCarry.Outer(), Tensors: 3, Hop: 2, To: 1, From: dist.None}
	if c.Rank() == 1 {
		x.To, x.From = dist.None, 0
	}
	return x
}

// Rank 1 comes 5 s late: rank 0 waits for that long, as its memory is in use until then.
func TestASendWithoutAReceiveWaitsUntilItIsReceived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ranks(t, 2, func(ctx context.Context, c *dist.Comm) error {
			time.Sleep(time.Duration(c.Rank()) * 5 * time.Second)
			got, err := dist.SendRecv(c, oneWay(c), []float64{1, 2}, 2).Wait(ctx)
			if err != nil {
				return err
			}
			e := c.Ledger().Snapshot()[dist.ForwardCarryOuter]
			want, length := dist.Entry{Hops: 1, Tensors: 3, Bytes: 16, Wait: 5 * time.Second}, 0
			if c.Rank() == 1 {
				want, length = dist.Entry{}, 2
			}
			if e != want || len(got) != length {
				return fmt.Errorf("rank %d: ledger %+v and %d elements, want %+v and %d", c.Rank(), e, len(got), want, length)
			}
			return nil
		})
	})
}

func TestAReceiveWithoutASendBooksItsWaitAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ranks(t, 2, func(ctx context.Context, c *dist.Comm) error {
			time.Sleep(time.Duration(1-c.Rank()) * 5 * time.Second)
			if _, err := dist.SendRecv(c, oneWay(c), []float64{1, 2}, 2).Wait(ctx); err != nil {
				return err
			}
			if e := c.Ledger().Snapshot()[dist.ForwardCarryOuter]; c.Rank() == 1 && e != (dist.Entry{Wait: 5 * time.Second}) {
				return fmt.Errorf("ledger %+v", e)
			}
			return nil
		})
	})
}

func TestAnExchangeOfNeitherWayIsNothing(t *testing.T) {
	ranks(t, 2, func(ctx context.Context, c *dist.Comm) error {
		got, err := dist.SendRecv(c, dist.Exchange{Kind: dist.ForwardQ, To: dist.None, From: dist.None}, []byte{1}, 1).Wait(ctx)
		if got != nil || err != nil || len(c.Ledger().Snapshot()) != 0 {
			return fmt.Errorf("got %v, %w; ledger %v", got, err, c.Ledger().Snapshot())
		}
		return nil
	})
}

// A rank may send to itself in two exchanges of one way; started together they meet.
func TestExchangesOfOneWayMeetOnOneRank(t *testing.T) {
	ranks(t, 1, func(ctx context.Context, c *dist.Comm) error {
		sent := dist.SendRecv(c, dist.Exchange{Kind: dist.ForwardQ, To: 0, From: dist.None}, []int32{7}, 0)
		got, err := dist.SendRecv(c, dist.Exchange{Kind: dist.ForwardQ, To: dist.None, From: 0}, []int32(nil), 1).Wait(ctx)
		if err != nil || len(got) != 1 || got[0] != 7 {
			return fmt.Errorf("got %v, %w", got, err)
		}
		_, err = sent.Wait(ctx)
		return err
	})
}

func TestWrongLengthsOfOneWayAreNamed(t *testing.T) {
	err := local.Run(t.Context(), 2, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		_, err := dist.SendRecv(c, oneWay(c), []float32{1, 2, 3}, 2).Wait(ctx)
		return err
	})
	if !errors.Is(err, dist.ErrSize) || !strings.Contains(err.Error(), "forward_carry_outer hop 2: ") ||
		!strings.HasSuffix(err.Error(), "12 bytes sent, 8 wanted") {
		t.Errorf("got %v", err)
	}
}

// Whether the late rank should have sent or received, it is named.
func TestTheWatchdogNamesTheLateRankOfOneWay(t *testing.T) {
	for late, missed := range []string{"no message within 30s; rank 0 is late", "not received within 30s; rank 1 is late"} {
		synctest.Test(t, func(t *testing.T) {
			err := local.Run(t.Context(), 2, dist.Options{Timeout: 30 * time.Second}, func(ctx context.Context, c *dist.Comm) error {
				if c.Rank() == late {
					<-ctx.Done()
					return nil
				}
				_, err := dist.SendRecv(c, oneWay(c), []float32{1}, 1).Wait(ctx)
				return err
			})
			var who *dist.Late
			if !errors.As(err, &who) || who.Rank != late || !strings.Contains(err.Error(), missed) {
				t.Errorf("got %v, want %q", err, missed)
			}
		})
	}
}
