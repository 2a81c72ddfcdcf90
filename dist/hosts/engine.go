package hosts

import (
	"context"
	"errors"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
)

// Engine is one rank's side of a World: a local engine whose ranks are partly elsewhere.
type Engine struct {
	*local.Engine
	world *World
}

var (
	_ dist.Engine     = (*Engine)(nil)
	_ dist.Lender     = (*Engine)(nil)
	_ dist.Witness    = (*Engine)(nil)
	_ dist.Together   = (*Engine)(nil)
	_ dist.TagLimiter = (*Engine)(nil)
)

// Close leaves, and lets all processes know.
func (e *Engine) Close() error {
	err := e.Engine.Close()
	e.world.leave(e.Rank())
	return err
}

// Waits lists what the ranks of all processes that answer are blocked on.
func (e *Engine) Waits() []dist.Waiting { return append(e.Engine.Waits(), e.world.ask()...) }

// MaxTag is what remains of the wire's tags for each pair of ranks that two processes have.
func (e *Engine) MaxTag() int { return (e.world.wireTags()-1)/e.world.pairs() - 1 }

// wireTags is the highest tag of the wire.
func (w *World) wireTags() int {
	if l, ok := w.wire.(dist.TagLimiter); ok {
		return l.MaxTag()
	}
	return 1<<31 - 1
}

// pairs is how many tags of the wire a tag of ranks takes.
func (w *World) pairs() int { return w.most * w.most }

// carrier takes messages of ranks to the wire. Its tags hold which ranks of the two processes a message is between; 0 is for the
// processes themselves:
//
//	1 + pairs*tag + most*(place of the sender in its process) + place of the receiver
type carrier World

func (c *carrier) tag(from, to, tag int) int {
	w := (*World)(c)
	place := func(rank int) int { return rank - w.first[w.process(rank)] }
	return 1 + w.pairs()*tag + w.most*place(from) + place(to)
}

// Isend starts sending to a rank of another process.
func (c *carrier) Isend(b []byte, from, to, tag int) dist.Handle {
	process := (*World)(c).process(to)
	return carried{c.wire.Isend(b, process, c.tag(from, to, tag)), c.lines[process]}
}

// Irecv starts receiving from a rank of another process.
func (c *carrier) Irecv(b []byte, from, to, tag int) dist.Handle {
	process := (*World)(c).process(from)
	return carried{c.wire.Irecv(b, process, c.tag(from, to, tag)), c.lines[process]}
}

// carried is a transfer of the wire.
type carried struct {
	dist.Handle
	line *line
}

// Wait tells of a lost process only when all that it had to say was heard: that may be why it ended.
func (c carried) Wait(ctx context.Context) error {
	err := c.Handle.Wait(ctx)
	if errors.Is(err, dist.ErrPeerLost) {
		c.line.world.awaitAll([]<-chan struct{}{c.line.ended}, parting)
	}
	return err
}
