package devicetest

import (
	"slices"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/device"
)

const seeds = 40 // orders that a test of order tries

// pipeline doubles blocks of ones through two buffers of the device: the copy stream brings block i+1 while the compute stream works on
// block i. It leaves out the wait of that name.
type pipeline struct {
	without string
	seed    uint64
}

const (
	waitFilled = "the compute stream's wait for the copy"
	waitUsed   = "the copy stream's wait until the buffer was used"
	waitSum    = "the copy home's wait for the sum"
)

// run returns the sum of the blocks 1 to 5: 15 in every place.
func (p pipeline) run(t testing.TB, b Backend) []float32 {
	const n, blocks = 100, 5
	d := open(t, b, Options{Seed: p.seed})
	copies, compute := d.stream(), d.stream()
	sum := d.upload(constant(0, n))
	host := d.pin(4 * n * blocks)
	var buffer [2]device.Ptr
	var filled, used [2]device.Event
	for i := range buffer {
		buffer[i], filled[i], used[i] = d.upload(constant(1000, n)), d.event(), d.event()
	}
	wait := func(s device.Stream, e device.Event, name string) {
		if name != p.without {
			d.ok(s.Wait(e))
		}
	}
	for i := range blocks {
		block, slot := host[4*n*i:4*n*(i+1)], i%2
		putFloats(block, constant(float32(i+1), n))
		wait(copies, used[slot], waitUsed)
		d.ok(copies.ToDevice(buffer[slot], block))
		d.ok(copies.Record(filled[slot]))
		wait(compute, filled[slot], waitFilled)
		d.axpy(compute, buffer[slot], sum, 1, n)
		d.ok(compute.Record(used[slot]))
	}
	for i := range used {
		wait(copies, used[i], waitSum)
	}
	return d.download(copies, sum, n)
}

func eventsOrderStreams(t *testing.T, b Backend) {
	overSeeds(t, seeds, func(t testing.TB, seed uint64) {
		if got := (pipeline{seed: seed}).run(t, b); !slices.Equal(got, constant(15, len(got))) {
			t.Fatalf("seed %d: the pipeline gives %v: want 15 everywhere", seed, got[:4])
		}
	})
}

func missingWaitsAreCaught(t *testing.T, b Backend) {
	if !b.Lazy {
		t.Skip("the backend runs work in whatever order it likes")
	}
	for _, without := range []string{waitFilled, waitUsed, waitSum} {
		wrong := 0
		overSeeds(t, seeds, func(t testing.TB, seed uint64) {
			if got := (pipeline{seed: seed, without: without}).run(t, b); !slices.Equal(got, constant(15, len(got))) {
				wrong++
			}
		})
		t.Logf("without %s, %d of %d seeds give a wrong sum", without, wrong, seeds)
		if wrong == 0 {
			t.Errorf("without %s, all %d seeds give the right sum", without, seeds)
		}
	}
}

// waitHoldsForTheLastRecord: a wait is for the record that was last when Wait was called, whatever is recorded afterwards.
func waitHoldsForTheLastRecord(t *testing.T, b Backend) {
	overSeeds(t, seeds, func(t testing.TB, seed uint64) {
		d := open(t, b, Options{Seed: seed})
		first, second := d.stream(), d.stream()
		const n = 16
		x, y := d.upload(constant(0, n)), d.upload(constant(0, n))
		one := d.upload(constant(1, n))
		e := d.event()
		d.axpy(first, one, x, 1, n)
		d.ok(first.Record(e))
		d.axpy(first, one, x, 1, n)
		d.ok(first.Record(e)) // x is 2 now
		d.ok(second.Wait(e))
		d.ok(second.Record(e)) // must not change what second waits for
		d.axpy(second, x, y, 1, n)
		if got := d.download(second, y, n); !slices.Equal(got, constant(2, n)) {
			t.Fatalf("seed %d: the second stream read %v: want 2, as at the event's last record", seed, got[0])
		}
		d.ok(first.Synchronize())
	})
}

func waitForNoRecordIsNoWait(t *testing.T, b Backend) {
	d := open(t, b, Options{})
	s, e := d.stream(), d.event()
	d.ok(e.Synchronize())
	d.ok(s.Wait(e))
	d.ok(s.Record(e))
	d.ok(s.Synchronize())
}

// copiesReadWhenTheyRun: a copy may read its source as late as the stream is waited for.
func copiesReadWhenTheyRun(t *testing.T, b Backend) {
	if !b.Lazy {
		t.Skip("the backend copies when it likes")
	}
	early, late := 0, 0
	overSeeds(t, seeds, func(t testing.TB, seed uint64) {
		d := open(t, b, Options{Seed: seed})
		s, host := d.stream(), d.pin(4)
		p := d.alloc(4)
		putFloats(host, []float32{1})
		d.ok(s.ToDevice(p, host))
		putFloats(host, []float32{2}) // too early
		if d.download(s, p, 1)[0] == 1 {
			early++
		} else {
			late++
		}
	})
	if early == 0 || late == 0 {
		t.Errorf("of %d seeds %d read the source early and %d late: want both", seeds, early, late)
	}
}

func eventsMeasureTime(t *testing.T, b Backend) {
	d := open(t, b, Options{})
	s, begin, middle, end := d.stream(), d.event(), d.event(), d.event()
	const n = 1 << 16
	x, y := d.upload(constant(1, n)), d.upload(constant(1, n))
	d.ok(s.Record(begin))
	d.axpy(s, x, y, 1, 64)
	d.ok(s.Record(middle))
	d.axpy(s, x, y, 1, n)
	d.ok(s.Record(end))
	d.ok(end.Synchronize())
	first, err := middle.Since(begin)
	d.ok(err)
	all, err := end.Since(begin)
	d.ok(err)
	if first <= 0 || all <= first {
		t.Errorf("one launch took %v and both %v: want both positive, and the second larger", first, all)
	}
	unrecorded := d.event()
	if _, err := unrecorded.Since(begin); err == nil {
		t.Error("the time until an event that was never recorded is no error")
	}
}

func destroyedStreamsAndEventsFinish(t *testing.T, b Backend) {
	overSeeds(t, seeds/4, func(t testing.TB, seed uint64) {
		d := open(t, b, Options{Seed: seed})
		const n = 8
		x, y := d.upload(constant(3, n)), d.upload(constant(0, n))
		working, waiting, e := d.stream(), d.stream(), d.event()
		d.axpy(working, x, y, 1, n)
		d.ok(working.Record(e))
		d.ok(working.Destroy())
		d.ok(waiting.Wait(e))
		d.ok(e.Destroy())
		if got := d.download(waiting, y, n); !slices.Equal(got, constant(3, n)) {
			t.Fatalf("seed %d: after its stream was destroyed, a launch left %v: want 3", seed, got[0])
		}
	})
}
