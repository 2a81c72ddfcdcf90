package hosts

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
)

// How long other processes are waited for.
const (
	parting = 500 * time.Millisecond // after an abort, until they have been told
	answers = 500 * time.Millisecond // when they are asked what they wait for
)

// World is what one process has of a world of ranks.
type World struct {
	wire  dist.Engine
	part  *local.Part
	first []int    // the first rank of every process, and behind them the number of all ranks
	names []string // of the processes' hosts
	most  int      // ranks of the process that has most
	lines []*line  // to the other processes, by process; nil at the own place

	aborted chan struct{} // closed by the first abort
	told    chan struct{} // closed when the other processes have been told of it, as far as they can be
	alone   chan struct{} // closed when no other process has anything more to say

	patience time.Duration // how long the others may take to leave at the end; 0 is for ever

	mu    sync.Mutex
	left  map[int]bool // own ranks that have left
	open  map[int]bool // processes that may still say something
	asks  map[int]*ask // under way
	asked int

	closing sync.Once
	err     error // of closing
}

// Join makes n (>= 1) ranks in this process, behind those of the processes before it. All processes of the wire call it together; the
// numbers of their ranks may differ. From now on the wire belongs to the World.
func Join(ctx context.Context, wire dist.Engine, n int) (*World, error) {
	if n < 1 {
		return nil, fmt.Errorf("hosts: %d ranks in process %d: give 1 or more", n, wire.Rank())
	}
	w := &World{
		wire: wire, left: map[int]bool{}, asks: map[int]*ask{},
		aborted: make(chan struct{}), told: make(chan struct{}), alone: make(chan struct{}),
	}
	if err := w.meet(ctx, n); err != nil {
		return nil, fmt.Errorf("hosts: process %d could not join the others: %w", wire.Rank(), err)
	}
	w.part = local.NewPart(w.Size(), w.first[wire.Rank()], n, (*carrier)(w))
	w.part.OnAbort(w.spread)
	w.connect()
	return w, nil
}

// meet exchanges the numbers of ranks and the names of hosts.
func (w *World) meet(ctx context.Context, n int) error {
	c := dist.New(w.wire, dist.Options{})
	counts, err := dist.AllGather(ctx, c, []int64{int64(n)})
	if err != nil {
		return err
	}
	names, err := dist.AllGather(ctx, c, []byte(dist.Hostname()))
	if err != nil {
		return err
	}
	w.first = []int{0}
	for process, count := range counts {
		w.first = append(w.first, w.first[process]+int(count[0]))
		w.names = append(w.names, string(names[process]))
		w.most = max(w.most, int(count[0]))
	}
	return nil
}

// connect opens the lines to the other processes.
func (w *World) connect() {
	w.lines = make([]*line, w.wire.Size())
	w.open = map[int]bool{}
	for process := range w.lines {
		if process != w.own() {
			w.lines[process], w.open[process] = newLine(w, process), true
		}
	}
	if len(w.open) == 0 {
		close(w.alone)
	}
	for _, l := range w.others() {
		l.start()
	}
}

// others are the lines to the other processes.
func (w *World) others() []*line {
	var list []*line
	for _, l := range w.lines {
		if l != nil {
			list = append(list, l)
		}
	}
	return list
}

// Size is the number of ranks of all processes.
func (w *World) Size() int { return w.first[len(w.first)-1] }

// Engines are those of the ranks in this process.
func (w *World) Engines() []dist.Engine {
	var engines []dist.Engine
	for _, e := range w.part.Engines() {
		engines = append(engines, &Engine{Engine: e, world: w})
	}
	return engines
}

// process is the one that has a rank.
func (w *World) process(rank int) int {
	p := 0
	for w.first[p+1] <= rank {
		p++
	}
	return p
}

// own is the number of this process.
func (w *World) own() int { return w.wire.Rank() }

// spread tells the other processes that this one was aborted, unless it was they who said so.
func (w *World) spread(error) {
	close(w.aborted)
	cause := w.part.Cause()
	if remote := (*Remote)(nil); errors.As(cause, &remote) {
		close(w.told)
		return
	}
	sent := w.tell(message{Kind: aborting, Cause: pack(cause)})
	go func() {
		defer close(w.told)
		w.awaitAll(sent, parting)
	}()
}

// tell sends one message to all other processes.
func (w *World) tell(m message) []<-chan struct{} {
	var sent []<-chan struct{}
	for _, l := range w.others() {
		sent = append(sent, l.send(m))
	}
	return sent
}

// awaitAll waits for channels to be closed, at most so long.
func (w *World) awaitAll(all []<-chan struct{}, limit time.Duration) {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for _, c := range all {
		select {
		case <-c:
		case <-timer.C:
			return
		}
	}
}

// leave notes that a rank here has left, and tells the others what it has exchanged with theirs.
func (w *World) leave(rank int) {
	w.mu.Lock()
	known := w.left[rank]
	w.left[rank] = true
	w.mu.Unlock()
	if known {
		return
	}
	for _, l := range w.others() {
		m := message{Kind: leaving, Rank: rank}
		for peer := w.first[l.process]; peer < w.first[l.process+1]; peer++ {
			m.Totals = append(m.Totals, w.part.Exchanged(rank, peer))
		}
		l.send(m)
	}
}

// departed passes on that a rank of another process has left.
func (w *World) departed(m message) {
	for i, of := range m.Totals {
		w.part.Left(m.Rank, w.first[w.own()]+i, of)
	}
}

// silent notes that another process will say nothing more. One that said no farewell is lost, with all its ranks.
func (w *World) silent(process int, lost bool) {
	for rank := w.first[process]; lost && rank < w.first[process+1]; rank++ {
		for own := w.first[w.own()]; own < w.first[w.own()+1]; own++ {
			w.part.Left(rank, own, local.Totals{})
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if delete(w.open, process); len(w.open) == 0 {
		close(w.alone)
	}
}

// Close ends the world in this process: its ranks leave, and it waits until those of the other processes have left, too, so that nothing
// which is on its way is lost. After an abort it only waits a moment, for the others to be told. The wire is closed.
func (w *World) Close() error {
	w.closing.Do(func() {
		for _, e := range w.Engines() {
			_ = e.Close() // gives no error
		}
		w.err = errors.Join(w.sayFarewell(), w.wire.Close())
		for _, l := range w.others() {
			l.end()
		}
	})
	return w.err
}

func (w *World) sayFarewell() error {
	var late <-chan time.Time // never, without patience
	if w.patience > 0 {
		timer := time.NewTimer(w.patience)
		defer timer.Stop()
		late = timer.C
	}
	for _, sent := range append(w.tell(message{Kind: farewell}), w.alone) {
		select {
		case <-sent:
			continue
		case <-w.aborted:
			<-w.told
			return nil
		case <-late:
			return w.stillThere()
		}
	}
	return nil
}

// stillThere names the processes that do not end.
func (w *World) stillThere() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	var errs []error
	for _, process := range slices.Sorted(maps.Keys(w.open)) {
		errs = append(errs, fmt.Errorf("hosts: process %d on %s has not left within %v, though all is done here: %w", process, w.names[process], w.patience, dist.ErrTimeout))
	}
	return errors.Join(errs...)
}
