package disttest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ringgrad/ringgrad/dist"
)

var failures = []testCase{
	{"another size is an error on both sides", 2, sizeMismatch},
	{"abort frees everybody with the cause", 2, abortFrees},
	{"only the first cause counts", 2, firstCause},
	{"a rank that leaves is lost to its peers", 2, leaving},
	{"a wait ends with its context", 2, contextEnds},
	{"the watchdog names the late rank", 2, watchdog},
	{"alltoall of another length is an error", 2, wrongPart},
}

// sizeMismatch is between neighbours 0 and 1; engines whose sender can not know are excused on that side.
func sizeMismatch(ctx context.Context, e dist.Engine) error {
	switch e.Rank() {
	case 0:
		err := e.Isend(make([]byte, 8), 1, 0).Wait(ctx)
		if err == nil {
			return nil
		}
		return wantError("send of 8 bytes for 12", err, dist.ErrSize)
	case 1:
		return wantError("receive of 12 bytes from 8", e.Irecv(make([]byte, 12), 0, 0).Wait(ctx), dist.ErrSize)
	}
	return nil
}

var errCause = errors.New("the cause")

// abortFrees lets all but rank 0 wait for something that never comes.
func abortFrees(ctx context.Context, e dist.Engine) error {
	if e.Rank() == 0 {
		e.Abort(errCause)
	}
	for _, h := range []dist.Handle{e.Irecv(make([]byte, 4), (e.Rank()+1)%e.Size(), 1), e.Isend(nil, (e.Rank()+1)%e.Size(), 2)} {
		err := h.Wait(ctx)
		if err := errors.Join(wantError("after the abort", err, dist.ErrAborted), wantError("after the abort", err, errCause)); err != nil {
			return err
		}
	}
	return nil
}

func firstCause(ctx context.Context, e dist.Engine) error {
	if e.Rank() == 0 {
		e.Abort(errCause)
		e.Abort(errors.New("another cause"))
	}
	err := e.Irecv(nil, 0, 1).Wait(ctx)
	e.Abort(errors.New("a third"))
	return errors.Join(wantError("first", err, errCause), wantError("again", e.Irecv(nil, 0, 1).Wait(ctx), errCause))
}

// leaving checks transfers that were started before and after the peer left.
func leaving(ctx context.Context, e dist.Engine) error {
	if e.Rank() == 0 {
		var hs []dist.Handle
		for peer := 1; peer < e.Size(); peer++ {
			hs = append(hs, e.Irecv(nil, peer, 9))
		}
		if err := waitAll(ctx, hs...); err != nil {
			return err
		}
		return errors.Join(e.Close(), e.Close(), wantError("after the own close", e.Irecv(nil, 1, 1).Wait(ctx), dist.ErrClosed))
	}
	before := []dist.Handle{e.Irecv(make([]byte, 1), 0, 1), e.Isend(make([]byte, 1), 0, 2)}
	if err := e.Isend(nil, 0, 9).Wait(ctx); err != nil {
		return err
	}
	after := func() []dist.Handle { return []dist.Handle{e.Irecv(nil, 0, 3), e.Isend(nil, 0, 4)} }
	for i, h := range before {
		if err := wantError(fmt.Sprintf("transfer %d", i), h.Wait(ctx), dist.ErrPeerLost); err != nil {
			return err
		}
	}
	for i, h := range after() {
		if err := wantError(fmt.Sprintf("later transfer %d", i), h.Wait(ctx), dist.ErrPeerLost); err != nil {
			return err
		}
	}
	return nil
}

func contextEnds(ctx context.Context, e dist.Engine) error {
	cause := errors.New("the user has had enough")
	ctx, cancel := context.WithTimeoutCause(ctx, 20*time.Millisecond, cause)
	defer cancel()
	return wantError("wait", e.Irecv(nil, (e.Rank()+1)%e.Size(), 1).Wait(ctx), cause)
}

// watchdog lets rank 0 take no part in a ring, so that each of the others is stuck at another hop.
func watchdog(ctx context.Context, e dist.Engine) error {
	if e.Rank() == 0 {
		return nil
	}
	c := dist.New(e, dist.Options{Timeout: 50 * time.Millisecond})
	var err error
	for hop := 0; err == nil && hop < c.Size(); hop++ {
		_, err = dist.Shift(c, dist.Move{Kind: dist.ForwardKV, Hop: hop, Step: 1}, []float32{1}, 1).Wait(ctx)
	}
	var late *dist.Late
	var seen *dist.Error
	switch {
	case !errors.As(err, &late) || !errors.As(err, &seen) || !errors.Is(err, dist.ErrTimeout):
	case late.Rank == 0:
		return nil
	case len(late.Chain) == 0 && !errors.Is(err, dist.ErrAborted) && late.Rank == seen.Peer:
		return nil // an engine that is no witness names the peer
	case len(late.Chain) == 0 && errors.Is(err, dist.ErrAborted):
		return nil // and the others hear of it
	}
	return fmt.Errorf("got %w, want rank 0 named as late", orNone(err))
}

// wrongPart lets rank 0 give rank 1 more than it wants. The others may go through, or be aborted.
func wrongPart(ctx context.Context, e dist.Engine) error {
	c := dist.New(e, dist.Options{})
	parts, lens := make([][]int32, c.Size()), make([]int, c.Size())
	for m := range parts {
		parts[m], lens[m] = make([]int32, 2), 2
	}
	if c.Rank() == 0 {
		parts[1] = make([]int32, 3)
	}
	_, err := dist.AllToAll(ctx, c, dist.Ulysses, parts, lens)
	if c.Rank() != 1 {
		return nil
	}
	var seen *dist.Error
	if !errors.As(err, &seen) || seen.Peer != 0 || seen.Kind != dist.Ulysses {
		return fmt.Errorf("got %w, want an error that names rank 0", orNone(err))
	}
	return wantError("receive of 8 bytes from 12", err, dist.ErrSize)
}
