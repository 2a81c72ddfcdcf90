//go:build mpi && cgo

package mpi

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/ringgrad/ringgrad/dist"
)

// within is the context of a test.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// wait fails the test if one of the transfers does not end well.
func wait(t testing.TB, hs ...dist.Handle) {
	t.Helper()
	for i, h := range hs {
		if err := h.Wait(within(t)); err != nil {
			t.Fatalf("transfer %d: %v", i, err)
		}
	}
}

// meet returns when both processes of a world of 2 have called it.
func meet(t testing.TB, e dist.Engine) {
	t.Helper()
	wait(t, e.Isend(nil, 1-e.Rank(), 99), e.Irecv(nil, 1-e.Rank(), 99))
}

// inPieces lowers the size of a message for a test.
func inPieces(t testing.TB, n int) {
	before := maxMessage
	maxMessage = n
	t.Cleanup(func() { maxMessage = before })
}

func TestAMessageOfAnotherSizeIsErrSizeToItsReceiver(t *testing.T) {
	for _, c := range []struct {
		sent, wanted, piece int
	}{
		{8, 12, 1 << 30},
		{0, 1, 1 << 30},
		{12, 8, 1 << 30},
		{1 << 20, 8, 1 << 30}, // beyond what MPI buffers
		{1 << 20, 1<<20 + 1, 1 << 30},
		{1004, 1016, 10},
		{1000, 1016, 10},
		{1016, 1000, 10},
		{1000, 0, 10},
	} {
		t.Run(fmt.Sprintf("%d for %d in pieces of %d", c.sent, c.wanted, c.piece), func(t *testing.T) {
			e := inside(t, 2)
			inPieces(t, c.piece)
			if e.Rank() == 0 {
				err := e.Isend(make([]byte, c.sent), 1, 5).Wait(within(t))
				if err != nil && !errors.Is(err, dist.ErrSize) {
					t.Errorf("sender: got %v", err)
				}
				wait(t, e.Isend(make([]byte, 3), 1, 5))
				return
			}
			room := bytes.Repeat([]byte{9}, 4<<20)
			err := e.Irecv(room[:c.wanted:c.wanted], 0, 5).Wait(within(t))
			if want := fmt.Sprintf("%d bytes sent, %d wanted", c.sent, c.wanted); !errors.Is(err, dist.ErrSize) || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %q", err, want)
			}
			if beyond := room[c.wanted:]; !bytes.Equal(beyond, bytes.Repeat([]byte{9}, len(beyond))) {
				t.Error("bytes beyond the end of the buffer were written")
			}
			wait(t, e.Irecv(make([]byte, 3), 0, 5)) // the next message is whole
		})
	}
}

func TestPeersAndTagsThatDoNotExistAreErrors(t *testing.T) {
	e := inside(t, 1)
	limit := e.(dist.TagLimiter).MaxTag()
	if limit < 32767 {
		t.Errorf("MaxTag is %d, and MPI promises 32767", limit)
	}
	for want, h := range map[string]dist.Handle{
		"rank 1 does not exist in a world of 1":  e.Isend(nil, 1, 0),
		"rank -1 does not exist in a world of 1": e.Irecv(nil, -1, 0),
		"tag -1 is not one of 0 to":              e.Irecv(nil, 0, -1),
	} {
		if err := h.Wait(within(t)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	wait(t, e.Isend([]byte{1}, 0, limit), e.Irecv(make([]byte, 1), 0, limit))
}

func TestWorldsOfNoOrTooManyProcessesAreErrors(t *testing.T) {
	inside(t, 1)
	for _, n := range []int{-1, 0, job.Size() + 1} {
		if e, err := job.World(n); e != nil || err == nil {
			t.Errorf("%d: got %v, %v", n, e, err)
		}
	}
}

func TestStartWorksOnce(t *testing.T) {
	inside(t, 1)
	if p, err := Start(); p != nil || err == nil || !strings.Contains(err.Error(), "Start was called before") {
		t.Errorf("got %v, %v", p, err)
	}
}

// After the context has ended the receive is still under way: the message arrives in the buffer.
func TestWaitEndsWithItsContextAndTheMessageStillArrives(t *testing.T) {
	e := inside(t, 2)
	cause := errors.New("the user has had enough")
	if e.Rank() == 1 {
		meet(t, e)
		wait(t, e.Isend([]byte("late"), 0, 1))
		return
	}
	b := make([]byte, 4)
	h := e.Irecv(b, 1, 1)
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, cause)
	defer cancel()
	if err := h.Wait(ctx); !errors.Is(err, cause) {
		t.Errorf("got %v", err)
	}
	meet(t, e)
	wait(t, h)
	if string(b) != "late" {
		t.Errorf("got %q", b)
	}
}

func TestAbortFreesWhatWaitsInThisProcessWithTheFirstCause(t *testing.T) {
	e := inside(t, 2)
	cause := errors.New("loss is NaN")
	if e.Rank() == 1 { // not concerned
		meet(t, e)
		return
	}
	h := e.Irecv(nil, 1, 1)
	meet(t, e)
	time.AfterFunc(20*time.Millisecond, func() {
		e.Abort(cause)
		e.Abort(errors.New("another"))
	})
	for i, h := range []dist.Handle{h, e.Irecv(nil, 1, 1), h} {
		if err := h.Wait(within(t)); !errors.Is(err, dist.ErrAborted) || !errors.Is(err, cause) {
			t.Errorf("wait %d: got %v", i, err)
		}
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	if err := e.Isend(nil, 1, 1).Wait(within(t)); !errors.Is(err, cause) {
		t.Errorf("after Close: got %v", err)
	}
}

func TestCloseEndsReceivesAndWhatComesLater(t *testing.T) {
	e := inside(t, 1)
	pending := make([]dist.Handle, 100)
	for i := range pending {
		pending[i] = e.Irecv(make([]byte, 1), 0, i)
	}
	start := time.Now()
	if err := errors.Join(e.Close(), e.Close()); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > closePatience/2 {
		t.Errorf("took %v", took)
	}
	e.Abort(errors.New("too late"))
	for _, h := range append(pending, e.Irecv(nil, 0, 1), e.Isend(nil, 0, 1)) {
		if err := h.Wait(within(t)); !errors.Is(err, dist.ErrClosed) {
			t.Fatalf("got %v", err)
		}
	}
}

// A send beyond what MPI buffers ends when it is received; Close does not wait for that for ever, and the message is not lost either.
func TestCloseDoesNotHangOnASendAndTheMessageStillArrives(t *testing.T) {
	const n = 4 << 20
	e := inside(t, 2)
	if e.Rank() == 0 {
		e.Isend(bytes.Repeat([]byte{7}, n), 1, 1)
		start := time.Now()
		if err := e.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(start); took > 5*closePatience {
			t.Errorf("took %v", took)
		}
		return
	}
	time.Sleep(closePatience + 300*time.Millisecond)
	b := make([]byte, n)
	wait(t, e.Irecv(b, 0, 1))
	if !bytes.Equal(b, bytes.Repeat([]byte{7}, n)) {
		t.Error("bytes were changed")
	}
}

func TestMessagesOfTwoWorldsDoNotMeet(t *testing.T) {
	first, second := world(t, 2), world(t, 2)
	if first == nil {
		t.Skip("not one of the first 2 processes")
	}
	if first.Rank() == 0 {
		wait(t, second.Isend([]byte{2}, 1, 1), first.Isend([]byte{1}, 1, 1))
		return
	}
	for want, e := range []dist.Engine{nil, first, second} {
		if e == nil {
			continue
		}
		b := make([]byte, 1)
		wait(t, e.Irecv(b, 0, 1))
		if int(b[0]) != want {
			t.Errorf("world %d got the message of world %d", want, b[0])
		}
	}
}

// The error is everybody's, and the next world can be made.
func TestWorldsThatDisagreeAreAnErrorEverywhere(t *testing.T) {
	world(t, 2)
	n := 1
	if job.Rank() == 0 {
		n = 2
	}
	if e, err := job.World(n); e != nil || err == nil || !strings.Contains(err.Error(), "another process asks for a world of another size") {
		t.Errorf("got %v, %v", e, err)
	}
	meet(t, inside(t, 2))
}
