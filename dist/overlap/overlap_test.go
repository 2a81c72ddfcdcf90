package overlap

import (
	"context"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/trace"
)

// link is an engine over which a block takes some time, in which it moves by itself, or only while somebody waits for it: as an MPI
// without a progress thread.
type link struct {
	dist.Engine
	takes  time.Duration
	itself bool
	spoil  bool // deliver zeros
}

const block = 1 << 20 // what is smaller belongs to barriers and the like

func (l link) Irecv(b []byte, from, tag int) dist.Handle {
	h := l.Engine.Irecv(b, from, tag)
	if len(b) < block {
		return h
	}
	return &pending{Handle: h, link: l, b: b, until: time.Now().Add(l.takes)}
}

type pending struct {
	dist.Handle
	link  link
	b     []byte
	until time.Time
}

func (p *pending) Wait(ctx context.Context) error {
	if !p.link.itself {
		p.until = time.Now().Add(p.link.takes)
	}
	err := p.Handle.Wait(ctx)
	time.Sleep(time.Until(p.until))
	if p.link.spoil {
		clear(p.b)
	}
	return err
}

// measure runs a measurement on ranks over such a link, and wants the same results everywhere.
func run(t *testing.T, ranks int, l *link, cfg Config, start func(int) func(int)) ([]Result, error) {
	t.Helper()
	var opts dist.Options
	if l != nil {
		opts.Wrap = func(e dist.Engine) dist.Engine {
			wrapped := *l
			wrapped.Engine = e
			return wrapped
		}
	}
	var mu sync.Mutex
	var all [][]Result
	err := local.Run(t.Context(), ranks, opts, func(ctx context.Context, c *dist.Comm) error {
		results, err := measure(ctx, c, cfg, start)
		mu.Lock()
		defer mu.Unlock()
		all = append(all, results)
		return err
	})
	if err != nil {
		return nil, err
	}
	for _, results := range all {
		if len(results) != len(all[0]) || results[0] != all[0][0] {
			t.Errorf("ranks disagree: %+v", all)
		}
	}
	return all[0], nil
}

// asleep stands for work in the tests' own time: a unit is a microsecond.
func asleep(int) func(units int) {
	return func(units int) { time.Sleep(time.Duration(units) * time.Microsecond) }
}

func TestOverlapIsSeenWhereThereIsSome(t *testing.T) {
	for name, c := range map[string]struct {
		itself        bool
		compute       float64
		takes, hop    float64 // ms
		ratio, hidden float64
	}{
		"moves by itself":                {true, 0.75, 30, 40, 1, 1},
		"and compute takes longer":       {true, 1.5, 60, 60, 1, 1},
		"moves while waited for":         {false, 0.75, 30, 70, 1.75, 0},
		"and compute takes longer still": {false, 1.5, 60, 100, 100. / 60, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &link{takes: 40 * time.Millisecond, itself: c.itself}
				results, err := run(t, 2, l, Config{MiB: []int{1}, Compute: c.compute, Rounds: 4}, asleep)
				if err != nil {
					t.Fatal(err)
				}
				r := results[0]
				for name, pair := range map[string][2]float64{
					"transfer": {r.TransferMS, 40}, "compute": {r.ComputeMS, c.takes}, "hop": {r.HopMS, c.hop}, "shortest": {r.HopMin, c.hop},
					"ratio": {r.Ratio, c.ratio}, "ratio of minima": {r.RatioMin, c.ratio}, "GB/s": {r.GBsPerSecond, 1048576 / 0.04 / 1e9},
				} {
					if math.Abs(pair[0]/pair[1]-1) > 0.01 {
						t.Errorf("%s is %v, want %v", name, pair[0], pair[1])
					}
				}
				if math.Abs(r.Hidden-c.hidden) > 0.01 {
					t.Errorf("%v is hidden, want %v", r.Hidden, c.hidden)
				}
			})
		})
	}
}

func TestEverySizeIsMeasuredOnEveryRing(t *testing.T) {
	for _, ranks := range []int{2, 3, 5} {
		cfg := Config{MiB: []int{1, 3}, Rounds: 2, Threads: 2}
		cfg.EnsureDefaults()
		results, err := run(t, ranks, nil, cfg, newWork)
		if err != nil {
			t.Fatal(err)
		}
		if len(results) != 2 || results[0].MiB != 1 || results[1].MiB != 3 {
			t.Fatalf("%+v", results)
		}
		for _, r := range results {
			if !(r.TransferMS > 0 && r.ComputeMS > 0 && r.HopMS > 0 && r.Ratio > 0 && r.RatioMin > 0 && r.Hidden >= 0 && r.Hidden <= 1) {
				t.Errorf("ring of %d: %+v", ranks, r)
			}
		}
	}
}

func TestABlockThatIsNotTheNextOneIsAnError(t *testing.T) {
	_, err := run(t, 3, &link{spoil: true, itself: true}, Config{MiB: []int{1}, Compute: 0.75, Rounds: 1}, asleep)
	if err == nil || !strings.Contains(err.Error(), "mixes messages up") {
		t.Error(err)
	}
}

func TestTheTraceShowsAHopOfEveryRank(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r trace.Recorder
		l := &link{takes: 40 * time.Millisecond, itself: true}
		if _, err := run(t, 2, l, Config{MiB: []int{1, 2}, Rounds: 1, Compute: 0.5, Trace: &r}, asleep); err != nil {
			t.Fatal(err)
		}
		want := map[trace.Span]bool{}
		for rank := range 2 {
			for _, name := range []string{"1 MiB", "2 MiB"} {
				want[trace.Span{Rank: rank, Stream: trace.Copy, Name: name, Duration: 40 * time.Millisecond}] = true
				want[trace.Span{Rank: rank, Stream: trace.Compute, Name: name, Duration: 20 * time.Millisecond}] = true
			}
		}
		for _, s := range r.Spans() {
			if s.Device == "" || s.Start.IsZero() {
				t.Errorf("%+v has no host or no start", s)
			}
			s.Device, s.Start, s.Duration = "", time.Time{}, s.Duration.Round(time.Millisecond)
			if !want[s] {
				t.Errorf("%+v is not wanted, or came twice", s)
			}
			delete(want, s)
		}
		if len(want) > 0 {
			t.Errorf("missing: %v", want)
		}
	})
}

func TestWhatCannotBeMeasuredIsRefused(t *testing.T) {
	err := Config{MiB: []int{0, 5000}, Compute: math.NaN(), Rounds: -1, Threads: -1}.Validate()
	for _, part := range []string{"a block of 0 MiB", "a block of 5000 MiB", "compute of NaN", "-1 rounds", "-1 threads"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
	if _, err := run(t, 1, nil, Config{Compute: 1}, asleep); err == nil || !strings.Contains(err.Error(), "2 or more") {
		t.Error(err)
	}
}
