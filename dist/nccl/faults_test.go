//go:build ringcuda && cgo

package nccl

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
)

// ring sends big blocks round until an error ends it.
func ring(ctx context.Context, e dist.Engine) error {
	c := dist.New(e, dist.Options{})
	block := make([]float32, 1<<15)
	for hop := 0; ; hop++ {
		var err error
		if block, err = dist.Shift(c, dist.Move{Kind: dist.ForwardKV, Hop: hop, Step: 1}, block, len(block)).Wait(ctx); err != nil {
			return err
		}
	}
}

// limited is a context for tests that hang if they fail.
func limited(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func wantText(t *testing.T, err error, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("the error is %v: want one with %q", err, text)
		}
	}
}

// TestAnErrorOfACommunicatorEndsAllRanks with the rank that saw it, its peer, the tag and the words of NCCL.
func TestAnErrorOfACommunicatorEndsAllRanks(t *testing.T) {
	for what, words := range map[string]string{
		"async":   "remote process exited or there was a network error (6): the stub was told to fail",
		"send":    "ncclSend: unhandled cuda error (1)",
		"receive": "ncclRecv: unhandled cuda error (1)",
		"init":    "ncclCommInitRankConfig: unhandled system error (2)",
		"unique":  "ncclGetUniqueId: unhandled system error (2)",
	} {
		t.Run(what, func(t *testing.T) {
			const broken = 2
			ctx, n := limited(t), 1
			engines := world(t, 4, Options{})
			if what == "async" {
				n = 50
			}
			libraries.Fail(what, broken, n)
			for rank, err := range each(engines, func(e dist.Engine) error { return ring(ctx, e) }) {
				wantText(t, err, "nccl: rank 2: ", " of 131072 bytes ", " rank ", ", tag ", words)
				if aborted := errors.Is(err, dist.ErrAborted); aborted && rank == broken && what != "async" {
					t.Errorf("rank %d has %v: want its own error", rank, err)
				} else if !aborted && rank != broken {
					t.Errorf("rank %d has %v: want to be aborted", rank, err)
				}
			}
		})
	}
}

// TestAHangEndsWith what another rank does: the sender's data never comes.
func TestAHangEndsWith(t *testing.T) {
	cause := errors.New("the cause")
	for _, c := range []struct {
		name string
		end  func(e dist.Engine) error
		want []error
	}{
		{"an abort", func(e dist.Engine) error { e.Abort(cause); return nil }, []error{cause, dist.ErrAborted}},
		{"a peer that leaves", dist.Engine.Close, []error{dist.ErrPeerLost}},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := limited(t)
			engines := world(t, 3, Options{})
			libraries.Fail("hang", 0, 1)
			b := make([]byte, 100_000)
			send := engines[0].Isend(b, 1, 5)
			receive := engines[1].Irecv(make([]byte, len(b)), 0, 5)
			short, stop := context.WithTimeout(ctx, 50*time.Millisecond)
			defer stop()
			if err := receive.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("the receive ends with %v: want it to hang", err)
			}
			if err := c.end(engines[0]); err != nil {
				t.Error(err)
			}
			err := receive.Wait(ctx)
			for _, want := range c.want {
				if !errors.Is(err, want) {
					t.Errorf("the receive ends with %v: want %v", err, want)
				}
			}
			own := send.Wait(ctx)
			if !errors.Is(own, dist.ErrClosed) && !errors.Is(own, cause) {
				t.Errorf("the send ends with %v", own)
			}
			if c.name == "an abort" {
				return
			}
			if err := engines[1].Isend(b, 0, 6).Wait(ctx); !errors.Is(err, dist.ErrPeerLost) {
				t.Errorf("a later send to the rank that left ends with %v", err)
			}
			again := make([]byte, len(b)) // the others go on
			got := engines[2].Irecv(again, 1, 7)
			if err := errors.Join(engines[1].Isend(b, 2, 7).Wait(ctx), got.Wait(ctx)); err != nil {
				t.Errorf("between the others: %v", err)
			}
		})
	}
}

// TestSizesThatDiffer by whichever way they would travel.
func TestSizesThatDiffer(t *testing.T) {
	const big = 100_000
	for _, c := range []struct{ sent, wanted int }{{big, big + 1}, {big, 10}, {10, big}, {big, headerBytes - 1}, {headerBytes - 1, big}, {0, big}, {big, 0}, {1, 2}} {
		t.Run(fmt.Sprintf("%d for %d", c.sent, c.wanted), func(t *testing.T) {
			ctx := limited(t)
			engines := world(t, 2, Options{})
			send, receive := engines[0].Isend(make([]byte, c.sent), 1, 0), engines[1].Irecv(make([]byte, c.wanted), 0, 0)
			if err := receive.Wait(ctx); !errors.Is(err, dist.ErrSize) {
				t.Errorf("the receive ends with %v", err)
			}
			if err := send.Wait(ctx); !errors.Is(err, dist.ErrSize) && (err != nil || c.sent >= big) {
				t.Errorf("the send ends with %v", err)
			}
			again := engines[0].Isend(pattern(big, 3), 1, 0) // and the two go on
			got := make([]byte, big)
			if err := errors.Join(engines[1].Irecv(got, 0, 0).Wait(ctx), again.Wait(ctx)); err != nil {
				t.Errorf("the next message: %v", err)
			}
		})
	}
}

// TestWhatArrivedBeforeAPeerLeftHasArrived: the sender of the last message is not told that the peer is lost.
func TestWhatArrivedBeforeAPeerLeftHasArrived(t *testing.T) {
	for range 20 {
		engines := world(t, 2, Options{Smallest: 1})
		for _, err := range each(engines, func(e dist.Engine) error {
			if e.Rank() == 0 {
				return e.Isend(make([]byte, 5000), 1, 0).Wait(t.Context())
			}
			return errors.Join(e.Irecv(make([]byte, 5000), 0, 0).Wait(t.Context()), e.Close())
		}) {
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := engines[0].Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// opening wants Open to fail on both ranks with a text, and to leave nothing.
func opening(t *testing.T, options func(rank int) Options, texts ...string) {
	t.Helper()
	engines, errs := open(t, 2, options)
	for rank, err := range errs {
		if engines[rank] != nil {
			t.Errorf("rank %d has an engine", rank)
		}
		wantText(t, err, texts...)
	}
	tidy(t)
}

func TestOpenFailsOnAllRanksAlike(t *testing.T) {
	t.Run("no library", func(t *testing.T) {
		opening(t, func(rank int) Options { return Options{Device: rank, Library: "/nowhere/libnccl.so.2"} },
			"nccl: rank ", ": no NCCL: ", "/nowhere/libnccl.so.2", "set RINGGRAD_NCCL_LIBRARY")
	})
	t.Run("another library", func(t *testing.T) {
		opening(t, func(rank int) Options { return Options{Device: rank, Library: "libc.so.6"} },
			": not NCCL, or older than 2.17: libc.so.6 has no ncclGetVersion")
	})
	t.Run("no driver", func(t *testing.T) {
		t.Setenv("RINGGRAD_CUDA_LIBRARY", "/nowhere/libcuda.so.1")
		opening(t, func(rank int) Options { return Options{Device: rank} }, "nccl: rank ", ": no CUDA driver: ", "/nowhere/libcuda.so.1")
	})
	t.Run("one rank has no library", func(t *testing.T) {
		opening(t, func(rank int) Options {
			return Options{Device: rank, Library: []string{"", "/nowhere/libnccl.so.2"}[rank]}
		}, "nccl: rank 1: no NCCL: ")
	})
	t.Run("one rank has no memory", func(t *testing.T) {
		libraries.Fail("alloc", 1, 3)
		opening(t, func(rank int) Options { return Options{Device: rank} }, "nccl: rank 1: cuMemAlloc: CUDA_ERROR_OUT_OF_MEMORY (2)")
	})
	t.Run("no such device", func(t *testing.T) {
		opening(t, func(rank int) Options { return Options{Device: rank * 8} }, "nccl: rank 1: device 8 does not exist: the driver has 8")
	})
	t.Run("one GPU for two", func(t *testing.T) {
		opening(t, func(int) Options { return Options{} }, "nccl: ranks 0 and 1 have the same GPU (a0a0")
	})
	t.Run("different limits", func(t *testing.T) {
		opening(t, func(rank int) Options { return Options{Device: rank, Smallest: 1 + rank} }, "from 1 bytes on by NCCL and rank 1 from 2")
	})
	t.Run("bad options", func(t *testing.T) {
		opening(t, func(rank int) Options { return Options{Device: -1, Smallest: -1} }, "nccl: rank ", "device -1", "messages of -1 bytes")
	})
}

func TestVersionsAreCompared(t *testing.T) {
	err := disagreement([]standing{{Version: 22005, GPU: "a"}, {Version: 22005, GPU: "b"}, {Version: 21903, GPU: "c"}})
	wantText(t, err, "nccl: rank 0 has NCCL 2.20.5 and rank 2 2.19.3")
}

func TestOpenEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	e, err := Open(ctx, local.NewWorld(2)[0], Options{}) // the other rank does not come
	if e != nil || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Open gives %v and %v", e, err)
	}
	tidy(t)
}

func TestTagsOfOurOwnAreRefused(t *testing.T) {
	e := world(t, 1, Options{})[0]
	limit := e.(dist.TagLimiter).MaxTag()
	for _, tag := range []int{-1, limit + 1} {
		for _, h := range []dist.Handle{e.Isend(nil, 0, tag), e.Irecv(nil, 0, tag)} {
			wantText(t, h.Wait(t.Context()), fmt.Sprintf("nccl: tag %d: give 0 to %d", tag, limit))
		}
	}
	if err := errors.Join(e.Irecv(nil, 0, limit).Wait(limitedBy(t, e, limit))); err != nil {
		t.Errorf("the highest tag: %v", err)
	}
}

// limitedBy sends what a receive of the highest tag waits for.
func limitedBy(t *testing.T, e dist.Engine, tag int) context.Context {
	e.Isend(nil, 0, tag)
	return limited(t)
}
