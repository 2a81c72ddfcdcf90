package cluster

import "container/heap"

// processor serves all jobs of a host at the same rate: served is how much each job that was there from the start would have got, so a
// job ends when that has grown by what it takes.
type processor struct {
	jobs    jobs
	served  float64
	at      float64 // when served was right
	version int
}

// job is work of a rank, or a copy of a message. Once on a processor, seconds is the value of served at which it ends.
type job struct {
	seconds       float64
	rank, message int
}

func (p *processor) advance(now float64) {
	if n := len(p.jobs); n > 0 {
		p.served += (now - p.at) / float64(n)
	}
	p.at = now
}

func (s *state) work(host int, j job) {
	p := &s.hosts[host]
	p.advance(s.now)
	j.seconds += p.served
	heap.Push(&p.jobs, j)
	s.schedule(host)
}

// schedule says when the first of a host's jobs will end if nothing joins them.
func (s *state) schedule(host int) {
	p := &s.hosts[host]
	p.version++
	if len(p.jobs) == 0 {
		return
	}
	left := max(p.jobs[0].seconds-p.served, 0) * float64(len(p.jobs))
	heap.Push(&s.events, event{at: p.at + left, host: host, version: p.version})
}

// jobs is a heap by their ends.
type jobs []job

func (j jobs) Len() int           { return len(j) }
func (j jobs) Less(a, b int) bool { return j[a].seconds < j[b].seconds }
func (j jobs) Swap(a, b int)      { j[a], j[b] = j[b], j[a] }
func (j *jobs) Push(x any)        { *j = append(*j, x.(job)) }
func (j *jobs) Pop() any {
	last := len(*j) - 1
	x := (*j)[last]
	*j = (*j)[:last]
	return x
}
