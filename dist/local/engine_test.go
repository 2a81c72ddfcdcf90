package local_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
)

// All blocks of a round trip are the memory in which they began.
func TestShiftHandsOverTheSameMemory(t *testing.T) {
	const n = 4
	blocks := make([][]float32, n)
	for i := range blocks {
		blocks[i] = make([]float32, 100)
	}
	err := local.Run(t.Context(), n, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		b := blocks[c.Rank()]
		for hop := range n {
			var err error
			if b, err = dist.Shift(c, dist.Move{Kind: dist.ForwardKV, Hop: hop, Step: 1}, b, 100).Wait(ctx); err != nil {
				return err
			}
			if source := (c.Rank() + 2*n - hop - 1) % n; unsafe.SliceData(b) != unsafe.SliceData(blocks[source]) {
				return fmt.Errorf("rank %d hop %d: the block of rank %d was copied", c.Rank(), hop, source)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestShiftAllocatesNothingOfTheSizeOfTheBlock(t *testing.T) {
	const n, elements, hops = 2, 1 << 20, 20
	blocks := [n][]float32{make([]float32, elements), make([]float32, elements)}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := local.Run(t.Context(), n, dist.Options{}, func(ctx context.Context, c *dist.Comm) (err error) {
		block := blocks[c.Rank()]
		for hop := 0; hop < hops && err == nil; hop++ {
			block, err = dist.Shift(c, dist.Move{Kind: dist.ForwardKV, Hop: hop, Step: 1}, block, elements).Wait(ctx)
		}
		return err
	})
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; err != nil || got > elements {
		t.Errorf("%d bytes allocated in %d hops of %d bytes, error %v", got, hops, 4*elements, err)
	}
}

// A send without a receiver does not end: what works here needs no buffers anywhere.
func TestSendsEndWhenTheyAreReceived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engines := local.NewWorld(2)
		ended := false
		go func() {
			if err := engines[0].Isend([]byte{1}, 1, 0).Wait(t.Context()); err != nil {
				t.Error(err)
			}
			ended = true
		}()
		time.Sleep(time.Hour)
		synctest.Wait()
		if ended {
			t.Fatal("the send ended before it was received")
		}
		b := make([]byte, 1)
		if err := engines[1].Irecv(b, 0, 0).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if !ended || b[0] != 1 {
			t.Fatalf("ended %v, message %v", ended, b)
		}
	})
}

// The ring that sends before it receives: it must not work by luck of small messages.
func TestSendFirstRingIsACycleToTheWatchdog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := local.Run(t.Context(), 3, dist.Options{Timeout: time.Second}, func(ctx context.Context, c *dist.Comm) error {
			// The halves of an exchange in which nobody receives at the hop that was sent.
			hop := c.Rank()
			_, err := dist.Shift(c, dist.Move{Kind: dist.ForwardKV, Hop: hop, Step: 1}, []float32{1}, 1).Wait(ctx)
			return err
		})
		if err == nil || !strings.Contains(err.Error(), "they wait for each other") {
			t.Fatalf("got %v", err)
		}
	})
}

func TestAPeerThatDoesNotExistIsAnError(t *testing.T) {
	e := local.NewWorld(2)[0]
	for _, h := range []dist.Handle{e.Isend(nil, 2, 0), e.Irecv(nil, -1, 0)} {
		if err := h.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "does not exist in a world of 2") {
			t.Errorf("got %v", err)
		}
	}
}

// A rank whose wait was given up, and which goes on, is no longer in the way of a diagnosis.
func TestWaitsForgetWhatWasGivenUp(t *testing.T) {
	engines := local.NewWorld(2)
	witness := engines[0].(dist.Witness)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := engines[0].Irecv(nil, 1, 0).Wait(ctx); err == nil {
		t.Fatal("received nothing from nobody")
	}
	if w := witness.Waits(); len(w) != 1 || w[0].Rank != 0 || w[0].Peer != 1 || w[0].Sending {
		t.Fatalf("waits %v", w)
	}
	engines[0].Isend(nil, 1, 1)
	if w := witness.Waits(); len(w) != 0 {
		t.Fatalf("waits %v", w)
	}
}

func TestBothSidesLearnThatSizesDiffer(t *testing.T) {
	engines := local.NewWorld(2)
	lender := engines[0].(dist.Lender)
	borrower := engines[1].(dist.Lender)
	for _, pair := range [][2]dist.Handle{
		{engines[0].Isend(make([]byte, 8), 1, 0), engines[1].Irecv(make([]byte, 12), 0, 0)},
		{lender.Lend(make([]byte, 8), 1, 1), borrower.Borrow(4, 0, 1)},
		{lender.Lend(nil, 1, 2), engines[1].Irecv(make([]byte, 1), 0, 2)},
	} {
		for _, h := range pair {
			if err := h.Wait(t.Context()); !errors.Is(err, dist.ErrSize) {
				t.Errorf("got %v", err)
			}
		}
	}
}
