package hosts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
)

// Run calls f on n ranks in this process and as many as the other processes of the wire say in each of them, as local.Run does with the
// ranks of one process, and returns when all have ended. Every process gets the first cause of a failure; where that happened elsewhere it
// is a *Remote. Where ranks wait for a late one, the error says on which host that is. Without a wire it is local.Run.
//
// After an error the wire is closed, and no more use: end the process.
func Run(ctx context.Context, wire dist.Engine, n int, opts dist.Options, f func(ctx context.Context, c *dist.Comm) error) error {
	if wire == nil {
		return local.Run(ctx, n, opts, f)
	}
	w, err := joinWithin(ctx, opts.Timeout, wire, n)
	if err != nil {
		return err
	}
	w.patience = opts.Timeout
	err = w.part.Run(ctx, opts, func(e *local.Engine) dist.Engine { return &Engine{Engine: e, world: w} }, f)
	closed := w.Close()
	if cause := w.part.Cause(); err == nil && cause != nil {
		err = cause // another process failed when this one was done
	}
	if err == nil {
		return closed
	}
	return w.located(err)
}

// joinWithin is Join under the watchdog.
func joinWithin(ctx context.Context, limit time.Duration, wire dist.Engine, n int) (*World, error) {
	if limit > 0 {
		limited, stop := context.WithTimeoutCause(ctx, limit, dist.ErrTimeout)
		defer stop()
		ctx = limited
	}
	return Join(ctx, wire, n)
}

// located says on which host an error is at home.
func (w *World) located(err error) error {
	var late *dist.Late
	var remote *Remote
	switch {
	case w.wire.Size() == 1:
	case errors.As(err, &late) && late.Rank >= 0 && late.Rank < w.Size():
		process := w.process(late.Rank)
		return &Located{Err: err, Rank: late.Rank, Process: process, Host: w.names[process]}
	case errors.As(err, &remote):
		return fmt.Errorf("%w [on %s]", err, remote.Host)
	}
	return err
}

// Located is an error of Run that wraps a *dist.Late: it says where the late rank is.
type Located struct {
	Err           error
	Rank, Process int
	Host          string
}

func (l *Located) Error() string { return fmt.Sprintf("%v [rank %d is on %s]", l.Err, l.Rank, l.Host) }

// Unwrap gives the error without the place.
func (l *Located) Unwrap() error { return l.Err }
