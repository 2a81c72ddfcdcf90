package devicetest

import (
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/device"
)

const (
	ringSize  = 3
	ringWords = 50
)

// member is one device of a ring. Every device adds up the blocks of all, which travel from neighbour to neighbour through two buffers.
type member struct {
	bench
	copies, compute device.Stream
	buffer          [2]device.Ptr
	filled          [2]device.Event // recorded on copies: the buffer has its block
	used            [2]device.Event // recorded on compute: the buffer was added
	sum             device.Ptr
}

func newMember(d bench, rank int) *member {
	m := &member{bench: d, copies: d.stream(), compute: d.stream(), sum: d.upload(constant(0, ringWords))}
	for i := range m.buffer {
		m.buffer[i], m.filled[i], m.used[i] = d.upload(constant(float32(rank+1), ringWords)), d.event(), d.event()
	}
	return m
}

// add adds the block that arrived at a hop.
func (m *member) add(hop int) {
	slot := hop % 2
	m.ok(m.compute.Wait(m.filled[slot]))
	m.axpy(m.compute, m.buffer[slot], m.sum, 1, ringWords)
	m.ok(m.compute.Record(m.used[slot]))
}

// pull fetches the block for the next hop from the neighbour.
func (m *member) pull(from *member, hop int) {
	here, there := (hop+1)%2, hop%2
	m.ok(m.copies.Wait(m.used[here]))
	m.ok(m.copies.Wait(from.filled[there]))
	m.ok(m.copies.CopyFrom(m.buffer[here], from.Device, from.buffer[there], 4*ringWords))
}

// arrived records the pull; from then on the neighbour may not wait for the hop before.
func (m *member) arrived(hop int) { m.ok(m.copies.Record(m.filled[(hop+1)%2])) }

// release keeps the own buffer until the neighbour has pulled it.
func (m *member) release(by *member, hop int) {
	m.ok(m.compute.Wait(by.filled[(hop+1)%2]))
	m.ok(m.compute.Record(m.used[hop%2]))
}

func (m *member) check(t testing.TB) {
	t.Helper()
	want := constant(float32(ringSize*(ringSize+1)/2), ringWords)
	if got := m.download(m.compute, m.sum, ringWords); !slices.Equal(got, want) {
		t.Errorf("%s: the sum over the ring is %v: want %v", m.Info().Name, got[0], want[0])
	}
}

// ringsOfPeersTurn drives all devices from one goroutine.
func ringsOfPeersTurn(t *testing.T, b Backend) {
	overSeeds(t, seeds/2, func(t testing.TB, seed uint64) {
		members := make([]*member, ringSize)
		for rank, d := range b.Open(t, Options{Devices: ringSize, Seed: seed}) {
			members[rank] = newMember(attach(t, d), rank)
		}
		for rank, m := range members {
			m.ok(m.ReachPeer(members[(rank+ringSize-1)%ringSize].Device))
		}
		each := func(f func(m, before, after *member)) {
			for rank, m := range members {
				f(m, members[(rank+ringSize-1)%ringSize], members[(rank+1)%ringSize])
			}
		}
		for hop := range ringSize {
			each(func(m, _, _ *member) { m.add(hop) })
			if hop+1 == ringSize {
				break
			}
			each(func(m, before, _ *member) { m.pull(before, hop) })
			each(func(m, _, _ *member) { m.arrived(hop) })
			each(func(m, _, after *member) { m.release(after, hop) })
		}
		for _, m := range members {
			m.check(t)
		}
	})
}

// goroutinesDriveTheirDevices is the same ring with a goroutine a device, which meet only to hand over events.
func goroutinesDriveTheirDevices(t *testing.T, b Backend) {
	overSeeds(t, 3, func(t testing.TB, seed uint64) {
		members := make([]*member, ringSize)
		all := newBarrier(ringSize)
		var group sync.WaitGroup
		for rank, d := range b.Open(t, Options{Devices: ringSize, Seed: seed}) {
			group.Go(func() {
				goroutine := &scope{TB: t, exit: runtime.Goexit}
				defer goroutine.end()
				done := false
				defer all.leave(&done)
				members[rank] = newMember(attach(goroutine, d), rank)
				all.meet()
				turn(members, rank, all.meet)
				members[rank].check(goroutine)
				done = true
			})
		}
		group.Wait()
	})
}

// turn is one member's way round the ring.
func turn(members []*member, rank int, meet func()) {
	m, before, after := members[rank], members[(rank+ringSize-1)%ringSize], members[(rank+1)%ringSize]
	for hop := range ringSize {
		m.add(hop)
		if hop+1 == ringSize {
			return
		}
		m.pull(before, hop)
		meet()
		m.arrived(hop)
		meet()
		m.release(after, hop)
		meet()
	}
}

// barrier is where n goroutines wait for each other, until one of them gives up.
type barrier struct {
	mu      sync.Mutex
	n       int
	waiting int
	gate    chan struct{} // closed when all have come
	broken  chan struct{}
	once    sync.Once
}

func newBarrier(n int) *barrier {
	return &barrier{n: n, gate: make(chan struct{}), broken: make(chan struct{})}
}

// meet waits for all, and ends the goroutine if one has given up.
func (b *barrier) meet() {
	b.mu.Lock()
	mine := b.gate
	b.waiting++
	if b.waiting == b.n {
		close(b.gate)
		b.waiting, b.gate = 0, make(chan struct{})
	}
	b.mu.Unlock()
	select {
	case <-mine:
	case <-b.broken:
		runtime.Goexit()
	}
}

// leave gives up if the goroutine has not done all its work.
func (b *barrier) leave(done *bool) {
	if !*done {
		b.once.Do(func() { close(b.broken) })
	}
}
