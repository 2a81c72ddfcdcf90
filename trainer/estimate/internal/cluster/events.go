package cluster

import "container/heap"

// state is a run in progress.
type state struct {
	Network
	programs [][]Op
	next     []int // by rank: its next instruction
	messages []passage
	hosts    []processor
	links    []link
	events   queue
	now      float64
}

// passage is a message on its way.
type passage struct {
	Message
	given, wanted bool
	left          int   // of its parts: the bytes on the link, and the copies at both ends
	waiting       []int // ranks
}

// link is until when a host's two directions are taken.
type link struct{ out, in float64 }

func newState(n Network, messages []Message, programs [][]Op) *state {
	s := &state{Network: n, programs: programs, next: make([]int, len(programs)), messages: make([]passage, len(messages)),
		hosts: make([]processor, n.Hosts), links: make([]link, n.Hosts)}
	for i, m := range messages {
		s.messages[i].Message = m
	}
	return s
}

// resume runs a rank's program until it computes, waits or ends.
func (s *state) resume(rank int) {
	for s.next[rank] < len(s.programs[rank]) {
		op := s.programs[rank][s.next[rank]]
		switch op.kind {
		case send, receive:
			s.post(op)
		case await:
			if m := &s.messages[op.message]; m.left != arrived {
				m.waiting = append(m.waiting, rank)
				return
			}
		case compute:
			s.next[rank]++
			s.work(s.HostOf(rank), job{seconds: op.seconds, rank: rank, message: none})
			return
		}
		s.next[rank]++
	}
}

// arrived is what is left of a message that is there; before it begins nothing is counted.
const arrived = -1

const none = -1

func (s *state) post(op Op) {
	m := &s.messages[op.message]
	m.given = m.given || op.kind == send
	m.wanted = m.wanted || op.kind == receive
	if m.given && m.wanted && m.left == 0 {
		s.begin(op.message)
	}
}

// begin puts a message on the links of its two hosts, and the copies of it on their processors.
func (s *state) begin(i int) {
	m := &s.messages[i]
	from, to := s.HostOf(m.From), s.HostOf(m.To)
	if from == to {
		m.left = 1
		s.arrive(i)
		return
	}
	m.left = 1
	seconds := float64(m.Bytes) * s.ByteSeconds
	out, in := &s.links[from].out, &s.links[to].in
	*out = max(*out, s.now) + seconds
	*in = max(*out, *in+seconds)
	heap.Push(&s.events, event{at: *in + s.Latency, message: i, host: none})
	if copying := float64(m.Bytes) * s.CopySeconds; copying > 0 {
		m.left = 3
		s.work(from, job{seconds: copying, rank: none, message: i})
		s.work(to, job{seconds: copying, rank: none, message: i})
	}
}

// arrive ends a part of a message; with the last one whoever waits goes on.
func (s *state) arrive(i int) {
	m := &s.messages[i]
	if m.left--; m.left > 0 {
		return
	}
	m.left = arrived
	waiting := m.waiting
	m.waiting = nil
	for _, rank := range waiting {
		s.resume(rank)
	}
}

// step goes on to the next event; false if there is none.
func (s *state) step() bool {
	if len(s.events) == 0 {
		return false
	}
	e := heap.Pop(&s.events).(event)
	if e.host == none {
		s.now = e.at
		s.arrive(e.message)
		return true
	}
	h := &s.hosts[e.host]
	if e.version != h.version { // the processor has got other work since
		return true
	}
	s.now = e.at
	h.advance(s.now)
	h.served = h.jobs[0].seconds // exactly, whatever rounding says
	done := heap.Pop(&h.jobs).(job)
	s.schedule(e.host)
	if done.message != none {
		s.arrive(done.message)
	} else {
		s.resume(done.rank)
	}
	return true
}

// event is the arrival of a message, or the end of the first job of a host, if that is still the same.
type event struct {
	at      float64
	message int
	host    int
	version int
}

type queue []event

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(event)) }
func (q *queue) Pop() any {
	last := len(*q) - 1
	x := (*q)[last]
	*q = (*q)[:last]
	return x
}
