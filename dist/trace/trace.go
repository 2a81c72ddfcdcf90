// Package trace records what ranks do when, and writes it as Chrome's trace events, which chrome://tracing, Perfetto and speedscope
// show as a picture: a process a device, a row a rank's stream.
//
//	device 0  rank 0 compute  ▐ forward ▌▐ forward ▌▐ forward ▌▐ finish ▌
//	          rank 0 copy     ▐ pull ▌   ▐ pull ▌
package trace

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"
)

// Span is something that took some time.
type Span struct {
	Device   string // where: a row of rows
	Rank     int
	Stream   string // "compute" or "copy"
	Name     string // what
	Start    time.Time
	Duration time.Duration
}

// Recorder gathers spans; it is safe for concurrent use, and the zero value is empty.
type Recorder struct {
	mu    sync.Mutex
	spans []Span
}

// Add enters spans.
func (r *Recorder) Add(spans ...Span) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.spans = append(r.spans, spans...)
}

// Spans are those entered so far, by their start.
func (r *Recorder) Spans() []Span {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := slices.Clone(r.spans)
	slices.SortStableFunc(all, func(a, b Span) int { return a.Start.Compare(b.Start) })
	return all
}

// Hidden is how much of the time that copies take, compute of the same rank covers: from 0 to 1, and 1 where nothing is copied.
func (r *Recorder) Hidden() float64 {
	var copied, covered time.Duration
	spans := r.Spans()
	for _, c := range spans {
		if c.Stream != Copy {
			continue
		}
		copied += c.Duration
		for _, x := range spans {
			if x.Stream == Compute && x.Rank == c.Rank && x.Device == c.Device {
				covered += overlap(c, x)
			}
		}
	}
	if copied == 0 {
		return 1
	}
	return min(float64(covered)/float64(copied), 1)
}

// Extent is the time from the first start to the last end of a stream's spans, of all ranks.
func (r *Recorder) Extent(stream string) time.Duration {
	var from, to time.Time
	for _, s := range r.Spans() {
		if s.Stream != stream {
			continue
		}
		if from.IsZero() {
			from = s.Start
		}
		if end := s.Start.Add(s.Duration); end.After(to) {
			to = end
		}
	}
	return to.Sub(from)
}

// Busy is how long devices were at work on a stream's spans: of all devices the time in which there was at least one.
func (r *Recorder) Busy(stream string) (busy time.Duration) {
	until := map[string]time.Time{} // by device
	for _, s := range r.Spans() {
		if s.Stream != stream {
			continue
		}
		from, to := s.Start, s.Start.Add(s.Duration)
		if known := until[s.Device]; known.After(from) {
			from = known
		}
		if to.After(from) {
			busy += to.Sub(from)
			until[s.Device] = to
		}
	}
	return busy
}

// The streams of a rank.
const (
	Compute = "compute"
	Copy    = "copy"
)

func overlap(a, b Span) time.Duration {
	from, to := a.Start, a.Start.Add(a.Duration)
	if b.Start.After(from) {
		from = b.Start
	}
	if end := b.Start.Add(b.Duration); end.Before(to) {
		to = end
	}
	return max(to.Sub(from), 0)
}

// event is one of Chrome's, whose times are in microseconds.
type event struct {
	Name     string            `json:"name"`
	Phase    string            `json:"ph"`
	Time     float64           `json:"ts"`
	Duration float64           `json:"dur,omitempty"`
	Process  int               `json:"pid"`
	Thread   int               `json:"tid"`
	Args     map[string]string `json:"args,omitempty"`
}

// Write writes the spans as a JSON document of Chrome's trace event format.
func (r *Recorder) Write(w io.Writer) error {
	doc := struct {
		Events []event `json:"traceEvents"`
		Unit   string  `json:"displayTimeUnit"`
	}{events(r.Spans()), "ms"}
	if err := json.NewEncoder(w).Encode(doc); err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	return nil
}

// events are the spans behind the names of their rows; times count from the first span.
func events(spans []Span) []event {
	all := []event{}
	processes, threads := map[string]int{}, map[string]int{}
	name := func(what, text string, process, thread int) {
		all = append(all, event{Name: what, Phase: "M", Process: process, Thread: thread, Args: map[string]string{"name": text}})
	}
	for _, s := range spans {
		p, known := processes[s.Device]
		if !known {
			p = len(processes)
			processes[s.Device] = p
			name("process_name", s.Device, p, 0)
		}
		row := fmt.Sprintf("rank %d %s", s.Rank, s.Stream)
		t, known := threads[row]
		if !known {
			t = len(threads)
			threads[row] = t
			name("thread_name", row, p, t)
		}
		all = append(all, event{Name: s.Name, Phase: "X", Time: micro(s.Start.Sub(spans[0].Start)), Duration: micro(s.Duration), Process: p, Thread: t})
	}
	return all
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

type key struct{}

// With returns a context whose operations are recorded.
func With(ctx context.Context, r *Recorder) context.Context { return context.WithValue(ctx, key{}, r) }

// From is the recorder of a context, nil for none.
func From(ctx context.Context) *Recorder {
	r, _ := ctx.Value(key{}).(*Recorder)
	return r
}
