//go:build ringcuda && cgo

package nccl

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/disttest"
)

// TestEngineConforms once with messages as they are, and once with all of them but the empty ones over NCCL.
func TestEngineConforms(t *testing.T) {
	for _, smallest := range []int{0, 1} {
		t.Run(fmt.Sprintf("smallest=%d", smallest), func(t *testing.T) {
			disttest.Suite{Sizes: []int{1, 2, 3, 4}, Engines: func(t testing.TB, n int) []dist.Engine {
				return world(t, n, Options{Smallest: smallest})
			}}.Run(t)
		})
	}
}

// pattern is a message that says where it belongs.
func pattern(n int, seed ...int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i + i>>8 + i>>16)
		for _, s := range seed {
			b[i] = b[i]*31 + byte(s)
		}
	}
	return b
}

func TestChunksComeTogether(t *testing.T) {
	for _, size := range []int{chunk - 1, chunk, chunk + 1, depth * chunk, (depth+1)*chunk + 3} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			engines := world(t, 2, Options{})
			for _, err := range each(engines, func(e dist.Engine) error { return exchange(t.Context(), e, size, 1) }) {
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// traffic has every rank start all its sends and receives in an order of its own: only those of one tag keep theirs.
func traffic(ctx context.Context, e dist.Engine, seed uint64, tags, count int) error {
	type message struct{ peer, tag, number int }
	size := func(from, to int, m message) int { return (from*7+to*5+m.tag*3+m.number)%5*40_000 + m.number }
	r := rand.New(rand.NewPCG(seed, uint64(e.Rank()))) //nolint:gosec // a test
	next := map[[3]int]int{}
	var order [][3]int // peer, tag, sends or receives
	for peer := range e.Size() {
		for tag := range tags {
			for range count {
				order = append(order, [3]int{peer, tag, 0}, [3]int{peer, tag, 1})
			}
		}
	}
	r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	var handles []dist.Handle
	got := map[message][]byte{}
	for _, o := range order {
		m := message{o[0], o[1], next[o]}
		next[o]++
		if o[2] == 0 {
			handles = append(handles, e.Isend(pattern(size(e.Rank(), m.peer, m), e.Rank(), m.tag, m.number), m.peer, m.tag))
			continue
		}
		got[m] = make([]byte, size(m.peer, e.Rank(), m))
		handles = append(handles, e.Irecv(got[m], m.peer, m.tag))
	}
	for _, i := range r.Perm(len(handles)) {
		if err := handles[i].Wait(ctx); err != nil {
			return err
		}
	}
	for m, b := range got {
		if !bytes.Equal(b, pattern(len(b), m.peer, m.tag, m.number)) {
			return fmt.Errorf("rank %d: message %+v is not what was sent", e.Rank(), m)
		}
	}
	return nil
}

func TestMessagesStartedInAnyOrderArrive(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			engines := world(t, 4, Options{})
			libraries.Reset(seed)
			for _, err := range each(engines, func(e dist.Engine) error { return traffic(t.Context(), e, seed, 3, 3) }) {
				if err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestAThousandMessagesKeepNothing but what the first ones took: a communicator for each rank and direction.
func TestAThousandMessagesKeepNothing(t *testing.T) {
	const count = 1000
	engines := world(t, 2, Options{Smallest: 1})
	before := map[string]int{}
	moved := libraries.Live("messages")
	for _, part := range []int{2, count} {
		for _, err := range each(engines, func(e dist.Engine) error { return exchange(t.Context(), e, 8, part) }) {
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, what := range kept {
			if now := libraries.Live(what); part == 2 {
				before[what] = now
			} else if now != before[what] && what != "work" { // the sender's last chunk may have yet to be ticked off
				t.Errorf("%d %s after %d messages, %d after the first", now, what, count, before[what])
			}
		}
	}
	if got := libraries.Live("messages") - moved; got != 2*(count+2) {
		t.Errorf("NCCL moved %d messages, want %d", got, 2*(count+2))
	}
	if before["communicators"] != 4 || before["streams"] != 4 || before["memory"] != 8 {
		t.Errorf("two ranks have %v: want 4 communicators, 4 streams, 8 blocks of memory", before)
	}
	for _, e := range engines {
		p := e.(*engine).peers[1-e.Rank()]
		p.mu.Lock()
		if len(p.asked.byID)+len(p.underWay.byID)+p.asked.receives+p.underWay.receives != 0 {
			t.Errorf("rank %d still waits for %+v and %+v", e.Rank(), p.asked, p.underWay)
		}
		p.mu.Unlock()
	}
}

// exchange sends count messages of some bytes to the other rank, and gets as many.
func exchange(ctx context.Context, e dist.Engine, size, count int) error {
	other := 1 - e.Rank()
	for i := range count {
		got := make([]byte, size)
		in, out := e.Irecv(got, other, i%3), e.Isend(pattern(size, e.Rank(), i), other, i%3)
		for _, h := range []dist.Handle{in, out} {
			if err := h.Wait(ctx); err != nil {
				return err
			}
		}
		if !bytes.Equal(got, pattern(size, other, i)) {
			return fmt.Errorf("rank %d: message %d is not what was sent", e.Rank(), i)
		}
	}
	return nil
}
