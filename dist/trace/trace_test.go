package trace

import (
	"bytes"
	"context"
	"encoding/json"
	"testing"
	"time"
)

// tour is two ranks' work: of the copies of rank 0 half is covered, of rank 1's all.
func tour() *Recorder {
	start := time.Unix(1_000_000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	r := &Recorder{}
	r.Add(
		Span{"gpu 0", 0, Copy, "pull", at(5), 10 * time.Millisecond},
		Span{"gpu 0", 0, Compute, "forward", at(0), 10 * time.Millisecond},
		Span{"gpu 1", 1, Compute, "forward", at(0), 20 * time.Millisecond},
		Span{"gpu 1", 1, Copy, "pull", at(2), 10 * time.Millisecond},
	)
	return r
}

func TestHiddenIsTheShareOfCopiesUnderCompute(t *testing.T) {
	if got := tour().Hidden(); got != 0.75 {
		t.Errorf("hidden: %v, want 0.75", got)
	}
	if got := new(Recorder).Hidden(); got != 1 {
		t.Errorf("hidden of nothing: %v, want 1", got)
	}
}

func TestBusyCountsTimeOnceADevice(t *testing.T) {
	r := tour()
	start := r.Spans()[0].Start
	r.Add(Span{"gpu 0", 2, Compute, "forward", start.Add(5 * time.Millisecond), 10 * time.Millisecond})
	if got := r.Busy(Compute); got != 35*time.Millisecond { // 15 on gpu 0, 20 on gpu 1
		t.Errorf("busy %v, want 35ms", got)
	}
	if got := r.Extent(Compute); got != 20*time.Millisecond {
		t.Errorf("extent %v, want 20ms", got)
	}
	if got := r.Extent(Copy); got != 13*time.Millisecond {
		t.Errorf("extent of copies %v, want 13ms", got)
	}
}

func TestWriteIsADocumentThatBrowsersRead(t *testing.T) {
	var b bytes.Buffer
	if err := tour().Write(&b); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		TraceEvents []struct {
			Name, Ph string
			Ts, Dur  float64
			Pid, Tid int
			Args     map[string]string
		}
	}
	if err := json.Unmarshal(b.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	rows, spans := map[string]bool{}, 0
	for _, e := range doc.TraceEvents {
		switch e.Ph {
		case "M":
			rows[e.Args["name"]] = true
		case "X":
			spans++
			if e.Name == "pull" && e.Pid == 0 && (e.Ts != 5000 || e.Dur != 10000) {
				t.Errorf("rank 0 pulls from %v for %v microseconds, want 5000 and 10000", e.Ts, e.Dur)
			}
		}
	}
	for _, want := range []string{"gpu 0", "gpu 1", "rank 0 compute", "rank 0 copy", "rank 1 compute", "rank 1 copy"} {
		if !rows[want] {
			t.Errorf("no row is called %q: %v", want, rows)
		}
	}
	if spans != 4 {
		t.Errorf("%d spans, want 4", spans)
	}
}

func TestAContextCarriesItsRecorder(t *testing.T) {
	r := &Recorder{}
	if got := From(With(context.Background(), r)); got != r {
		t.Errorf("the recorder is %p, want %p", got, r)
	}
	if got := From(context.Background()); got != nil {
		t.Errorf("a plain context has %p", got)
	}
}
