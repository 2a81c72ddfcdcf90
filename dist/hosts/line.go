package hosts

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"sync"

	"github.com/ringgrad/ringgrad/dist/local"
)

// control is the wire's tag of messages between processes.
const control = 0

// What processes tell each other.
const (
	aborting  = "abort"    // Cause
	leaving   = "leave"    // Rank has left, having exchanged Totals with the receiver's ranks
	farewell  = "farewell" // the last message
	asking    = "ask"      // what do your ranks wait for?
	answering = "answer"   // Waits
)

// message is what one process tells another, as JSON.
type message struct {
	Kind   string         `json:"kind"`
	Rank   int            `json:"rank,omitempty"`
	Totals []local.Totals `json:"totals,omitempty"`
	Cause  *packed        `json:"cause,omitempty"`
	Ask    int            `json:"ask,omitempty"`
	Waits  []wait         `json:"waits,omitempty"`
}

// A message travels in frames of one size, which every transport sends at once: 2 bytes of length, 1 that says whether more follow.
const (
	frameSize = 2048
	headSize  = 3
)

func frames(b []byte) [][]byte {
	var list [][]byte
	for first := true; first || len(b) > 0; first = false {
		n := min(len(b), frameSize-headSize)
		frame := make([]byte, frameSize)
		binary.LittleEndian.PutUint16(frame, uint16(n))
		if n < len(b) {
			frame[2] = 1
		}
		copy(frame[headSize:], b[:n])
		list, b = append(list, frame), b[n:]
	}
	return list
}

// line is the connection to another process: a goroutine that writes what is queued, and one that reads.
type line struct {
	world   *World
	process int
	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
	ended   chan struct{} // closed when nothing more will be read

	mu    sync.Mutex
	queue []queued
	wake  chan struct{} // holds one
}

type queued struct {
	message message
	sent    chan struct{} // closed when it was received, or cannot be
}

func newLine(w *World, process int) *line {
	ctx, stop := context.WithCancel(context.Background())
	return &line{world: w, process: process, ctx: ctx, stop: stop, wake: make(chan struct{}, 1), ended: make(chan struct{})}
}

func (l *line) start() {
	l.running.Go(l.write)
	l.running.Go(l.read)
}

// end stops both goroutines.
func (l *line) end() {
	l.stop()
	l.running.Wait()
}

// send queues a message. The channel is closed when the other process has received it, or cannot.
func (l *line) send(m message) <-chan struct{} {
	q := queued{m, make(chan struct{})}
	l.mu.Lock()
	l.queue = append(l.queue, q)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
	return q.sent
}

func (l *line) take() []queued {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := l.queue
	l.queue = nil
	return list
}

// write sends what is queued, in order. After an error the other process is past hearing: the reader finds that out as well.
func (l *line) write() {
	failed := false
	for {
		for _, q := range l.take() {
			failed = failed || l.deliver(q.message) != nil
			close(q.sent)
		}
		select {
		case <-l.wake:
		case <-l.ctx.Done():
			return
		}
	}
}

func (l *line) deliver(m message) error {
	text, err := json.Marshal(m)
	if err != nil {
		panic("hosts: a message is no JSON: " + err.Error())
	}
	for _, frame := range frames(text) {
		if err := l.world.wire.Isend(frame, l.process, control).Wait(l.ctx); err != nil {
			return err
		}
	}
	return nil
}

// read handles what comes until the farewell, or until the wire fails.
func (l *line) read() {
	defer close(l.ended)
	for {
		m, err := l.receive()
		switch {
		case err != nil:
			l.world.silent(l.process, true)
			return
		case m.Kind == farewell:
			l.world.silent(l.process, false)
			return
		}
		l.handle(m)
	}
}

func (l *line) receive() (m message, err error) {
	var text []byte
	frame := make([]byte, frameSize)
	for more := true; more; {
		if err := l.world.wire.Irecv(frame, l.process, control).Wait(l.ctx); err != nil {
			return m, err
		}
		text = append(text, frame[headSize:][:binary.LittleEndian.Uint16(frame)]...)
		more = frame[2] != 0
	}
	return m, json.Unmarshal(text, &m)
}

func (l *line) handle(m message) {
	w := l.world
	switch m.Kind {
	case aborting:
		w.part.Abort(m.Cause.unpack(l.process, w.names[l.process]))
	case leaving:
		w.departed(m)
	case asking:
		l.send(message{Kind: answering, Ask: m.Ask, Waits: packWaits(w.part.Waits())})
	case answering:
		w.answered(m)
	}
}
