//go:build ringcuda && cgo

package nccl

import (
	"context"
	"fmt"
	"sync"

	"github.com/ringgrad/ringgrad/dist"
)

// small is a message that the CPU engine carries, behind the byte that says so.
type small struct {
	e      *engine
	h      dist.Handle
	framed []byte
	into   []byte // nil for a send
	size   int
	peer   int

	unpacked sync.Once
	err      error
}

func (e *engine) sendSmall(b []byte, to, tag int) dist.Handle {
	framed := make([]byte, 1+len(b))
	framed[0] = whole
	copy(framed[1:], b)
	return &small{e: e, h: e.cpu.Isend(framed, to, tag), framed: framed, size: len(b), peer: to}
}

func (e *engine) receiveSmall(b []byte, from, tag int) dist.Handle {
	framed := make([]byte, 1+len(b))
	return &small{e: e, h: e.cpu.Irecv(framed, from, tag), framed: framed, into: b, size: len(b), peer: from}
}

// Wait is the CPU engine's, so that it sees what this rank is blocked on.
func (s *small) Wait(ctx context.Context) error {
	if err := s.h.Wait(ctx); err != nil {
		return sized(err, s.size)
	}
	s.unpacked.Do(s.unpack)
	return s.err
}

func (s *small) unpack() {
	if s.framed[0] == header { // a header happens to be of this length
		size, id := readHeader(s.framed)
		s.e.refuse(s.peer, id, s.size)
		s.err = fmt.Errorf("%w: %d bytes sent, %d wanted", dist.ErrSize, size, s.size)
		return
	}
	copy(s.into, s.framed[1:])
}
