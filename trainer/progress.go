package trainer

import (
	"fmt"
	"sync"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/ops/meter"
)

// Progress is how far the step in flight is.
type Progress struct {
	Step, Steps int     // counted from 1
	Part        string  // what it is at, such as "backward, layer 3 of 24, hop 2 of 7": the hops that the first rank has begun
	Done        float64 // share of its arithmetic, 0 to 1
	Elapsed     time.Duration
	Left        time.Duration // at the pace so far; 0 where nothing is done yet
}

// Progress tells how far the step in flight is; false when there is none. Any goroutine may call it while Run runs.
func (t *Trainer) Progress() (Progress, bool) {
	p, ok := t.run.tracker.progress()
	p.Steps = t.run.steps
	return p, ok
}

// tracker follows the steps of a process: its first rank writes, anybody reads. Arithmetic is what the kernels count, of all ranks.
type tracker struct {
	mu     sync.Mutex
	step   int
	began  time.Time // zero between steps
	before uint64    // what the kernels had done then
	flops  float64   // of the whole step
	part   string
	ring   *dist.Comm
	hops   int // begun before the part
}

// begin says that the first rank begins a step of so many operations.
func (t *tracker) begin(step int, flops float64, ring *dist.Comm) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.step, t.began, t.before, t.flops, t.ring = step+1, time.Now(), meter.Work(), flops, ring
	t.part, t.hops = "start", hopsOf(ring)
}

// enter says what the first rank does from now on.
func (t *tracker) enter(part string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.began.IsZero() {
		t.part, t.hops = part, hopsOf(t.ring)
	}
}

// work is how many operations were done in the step so far.
func (t *tracker) work() (flops float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return float64(meter.Work() - t.before)
}

// end says that the step is over.
func (t *tracker) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.began = time.Time{}
}

func (t *tracker) progress() (Progress, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.began.IsZero() {
		return Progress{}, false
	}
	p := Progress{Step: t.step, Part: t.part, Elapsed: time.Since(t.began)}
	if hops := hopsOf(t.ring) - t.hops; hops > 0 {
		p.Part += fmt.Sprintf(", hop %d of %d", hops, max(hops, t.ring.Size()-1))
	}
	// Tiles along the diagonal and padding count a little more than the step's formula says.
	if p.Done = min(1, float64(meter.Work()-t.before)/t.flops); p.Done > 0 {
		p.Left = time.Duration(float64(p.Elapsed) * (1 - p.Done) / p.Done)
	}
	return p, true
}

// hopsOf counts the hops of blocks in a forward pass, or of their gradients in a backward pass, whatever travels and between whichever
// ranks, of which one a block is made; and Ulysses' exchanges, so that a rank that sends anything is seen to move.
func hopsOf(ring *dist.Comm) (hops int) {
	sent := ring.Ledger().Snapshot()
	for _, kind := range []dist.Kind{dist.ForwardKV, dist.BackwardDKV, dist.ForwardQ, dist.BackwardDQ, dist.Ulysses} {
		hops += sent[kind].Hops + sent[kind.Outer()].Hops
	}
	return hops
}
