//go:build mpi

package faults

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// recovery is how long it may take from any fault to the next step.
const recovery = 90 * time.Second

// storm is a long run under a supervisor, and what happens to it.
type storm struct {
	*job
	run     training
	random  *rand.Rand
	came    map[string]int // faults by kind
	order   []int          // the kinds that come next; each comes once before one comes again
	waited  time.Duration  // from faults to the next steps, in all
	longest time.Duration
}

func TestARunSurvivesRandomFaultsBitByBit(t *testing.T) {
	faults, seed := fromEnvironment(t, "RINGGRAD_FAULTS", 12), fromEnvironment(t, "RINGGRAD_SEED", 1)
	r := newTraining(t, fmt.Sprintf("max_steps=%d", 10*faults+20), "save_steps=3", "eval_steps=0", "ring_timeout=4s")
	command := r.supervised(hostCount)
	command = append(command[:2], append([]string{"--max-restarts", "1000"}, command[2:]...)...)
	s := &storm{job: r.lab.start(t, command), run: r, random: rand.New(rand.NewPCG(uint64(seed), 0)), came: map[string]int{}}
	began := time.Now()
	for range faults {
		s.strike()
	}
	if status, _ := s.ends(slow + time.Duration(faults)*10*time.Second); status != 0 {
		t.Fatalf("status %d", status)
	}
	if r.outcome(t).weights != r.undisturbed(t).weights {
		t.Error("the weights differ from an undisturbed run's")
	}
	t.Logf("%d faults (seed %d) %v: %d restarts, %.0f s in all, from a fault to the next step %.1f s on average and %.1f s at most; same bits",
		faults, seed, s.came, s.starts()-1, time.Since(began).Seconds(), s.waited.Seconds()/float64(faults), s.longest.Seconds())
}

func fromEnvironment(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s=%s: want a number", name, text)
	}
	return n
}

// starts is how often the supervisor has started the training.
func (s *storm) starts() int { return strings.Count(s.said(), "supervise: start ") }

// begun is how often a training has begun.
func (s *storm) begun() int { return strings.Count(s.said(), "processes  4 on") }

// strike lets some steps pass, brings a fault about and waits for the next step.
func (s *storm) strike() {
	s.t.Helper()
	from := s.run.lastStep(s.t)
	pause := 1 + s.random.IntN(6)
	s.until("some steps", func() bool { return s.run.lastStep(s.t) >= from+pause })
	time.Sleep(time.Duration(s.random.IntN(60)) * time.Millisecond)
	starts, begun := s.starts(), s.begun()
	kind := s.kind()
	s.came[kind.name]++
	mend := kind.do(s, 2+s.random.IntN(hostCount-1))
	struck := time.Now()
	s.until("a restart after "+kind.name, func() bool { return strings.Count(s.said(), "; restart ") >= starts })
	mend()
	s.until("a new beginning after "+kind.name, func() bool { return s.begun() > begun })
	resumed := s.run.lastStep(s.t)
	s.until("a step after "+kind.name, func() bool { return s.run.lastStep(s.t) > resumed })
	took := time.Since(struck)
	s.waited += took
	s.longest = max(s.longest, took)
	if took > recovery {
		s.t.Errorf("%s: %v until the next step", kind.name, took)
	}
}

func (s *storm) kind() fault {
	if len(s.order) == 0 {
		s.order = s.random.Perm(len(faultKinds))
	}
	next := s.order[0]
	s.order = s.order[1:]
	return faultKinds[next]
}

// fault is a kind of faults. Do brings it about on a host other than the first, and returns what mends it after the restart.
type fault struct {
	name string
	do   func(s *storm, host int) (mend func())
}

var faultKinds = []fault{
	{"rank killed", func(s *storm, host int) func() { return s.signal(syscall.SIGKILL, host, isRank) }},
	{"rank 0 killed", func(s *storm, _ int) func() { return s.signal(syscall.SIGKILL, 1, isRank) }},
	{"daemon killed", func(s *storm, host int) func() { return s.signal(syscall.SIGKILL, host, isDaemon) }},
	{"host killed", func(s *storm, host int) func() { return s.signal(syscall.SIGKILL, host, isAny) }},
	{"mpirun killed", func(s *storm, _ int) func() { return s.signal(syscall.SIGKILL, 1, isMpirun) }},
	{"rank stopped", func(s *storm, host int) func() { return s.signal(syscall.SIGSTOP, host, isRank) }},
	{"link cut", func(s *storm, i int) func() {
		s.lab.do(s.t, "netns/cut", host(i))
		return func() { s.lab.do(s.t, "netns/mend", host(i)) }
	}},
	{"killed while saving", func(s *storm, _ int) func() {
		s.killSaving(s.run)
		return func() {}
	}},
}

// signal sends a signal to all processes of a kind on a host.
func (s *storm) signal(signal syscall.Signal, host int, kind func(process) bool) (mend func()) {
	for _, p := range s.lab.processes(func(p process) bool { return p.host == host && kind(p) }) {
		p.send(signal)
	}
	return func() {}
}
