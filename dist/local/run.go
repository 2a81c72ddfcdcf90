package local

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"github.com/ringgrad/ringgrad/dist"
)

// PanicError is a panic of a rank, recovered by Run.
type PanicError struct {
	Rank  int
	Value any
	Stack []byte
}

// Error names the rank and carries the stack: a panic is a fault of the program, and nobody can mend it without.
func (e *PanicError) Error() string {
	return fmt.Sprintf("local: rank %d panicked: %v\n%s", e.Rank, e.Value, e.Stack)
}

// Unwrap gives the value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

// errGoexit is a rank that ended by runtime.Goexit, as testing.T.FailNow does.
var errGoexit = errors.New("local: rank ended by runtime.Goexit (FailNow in a test?)")

// Run calls f on n ranks, each in a goroutine with a Comm of its own, and returns when all have ended.
//
// A rank that returns an error or panics aborts the others: what they wait for returns, and the context they were given ends. Run
// gives the first cause, not its echoes, with the rank that saw it: a *dist.Error, a *PanicError, or f's own error behind
// "rank 3: " (bare for n = 1); errors.Is and errors.As see through. A rank that returns nil while others still wait for it is such
// a cause, too: they get dist.ErrPeerLost. Where ctx ends, the ranks are aborted in the same way, and Run returns an error that
// wraps ctx.Err() and context.Cause(ctx), unless all ranks have returned nil.
func Run(ctx context.Context, n int, opts dist.Options, f func(ctx context.Context, c *dist.Comm) error) error {
	if n < 1 {
		return fmt.Errorf("local: a world of %d ranks: give 1 or more", n)
	}
	return NewPart(n, 0, n, nil).Run(ctx, opts, func(e *Engine) dist.Engine { return e }, f)
}

// Run is Run for the ranks of a part; engine puts something round their engines, which closes them.
func (p *Part) Run(ctx context.Context, opts dist.Options, engine func(*Engine) dist.Engine, f func(ctx context.Context, c *dist.Comm) error) error {
	r := &run{world: p.world, parent: ctx}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	p.OnAbort(cancel)
	stop := r.watch()
	var ranks sync.WaitGroup
	for _, e := range p.Engines() {
		ranks.Go(func() { r.rank(ctx, engine(e), opts, f) })
	}
	ranks.Wait()
	stop()
	return r.result()
}

// run is the state of one Run.
type run struct {
	world  *world
	parent context.Context

	mu   sync.Mutex
	errs []rankError // in the order in which ranks failed
}

type rankError struct {
	rank int
	err  error
}

// watch aborts the ranks when the caller's context ends. The function it returns ends the watch, and waits for an abort under way.
func (r *run) watch() func() {
	finished := make(chan struct{})
	stop := context.AfterFunc(r.parent, func() {
		defer close(finished)
		r.world.abort(r.cancelled())
	})
	return func() {
		if !stop() {
			<-finished
		}
	}
}

func (r *run) cancelled() error {
	err, cause := r.parent.Err(), context.Cause(r.parent)
	if errors.Is(cause, err) {
		return fmt.Errorf("local: run cancelled: %w", cause)
	}
	return fmt.Errorf("local: run cancelled: %w: %w", err, cause)
}

// rank is the life of one rank.
func (r *run) rank(ctx context.Context, e dist.Engine, opts dist.Options, f func(context.Context, *dist.Comm) error) {
	err := errGoexit
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Rank: e.Rank(), Value: v, Stack: debug.Stack()}
		}
		if err != nil {
			r.fail(e.Rank(), err)
		}
		_ = e.Close() // only says that the rank has left
	}()
	err = f(ctx, dist.New(e, opts))
}

func (r *run) fail(rank int, err error) {
	r.mu.Lock()
	r.errs = append(r.errs, rankError{rank, err})
	r.mu.Unlock()
	cause := r.named(rankError{rank, err})
	if ended := r.parent.Err(); ended != nil && (errors.Is(err, ended) || errors.Is(err, context.Cause(r.parent))) {
		cause = r.cancelled() // a rank saw the end of the context before watch did
	}
	r.world.abort(cause)
}

// result picks the first cause. Where the watchdog or an Abort gave it, the rank has often wrapped it in words of its own: those are kept.
func (r *run) result() error {
	cause := r.world.firstCause()
	if cause == nil || len(r.errs) == 0 && r.parent.Err() != nil && errors.Is(cause, r.parent.Err()) {
		return nil
	}
	for _, failed := range r.errs {
		if errors.Is(failed.err, cause) && !errors.Is(failed.err, dist.ErrAborted) {
			return r.named(failed)
		}
	}
	return cause
}

// named puts the rank before an error that does not say it.
func (r *run) named(failed rankError) error {
	var seen *dist.Error
	var panicked *PanicError
	switch {
	case r.world.size == 1, errors.As(failed.err, &panicked):
		return failed.err
	case errors.As(failed.err, &seen) && seen.Rank == failed.rank:
		return failed.err
	}
	return fmt.Errorf("rank %d: %w", failed.rank, failed.err)
}
