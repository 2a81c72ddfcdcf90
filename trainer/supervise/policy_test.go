package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ringgrad/ringgrad/trainer/checkpoint"
)

// world plays the hosts and the command; nothing is started.
type world struct {
	t      *testing.T
	config Config
	dead   map[string]error  // hosts that do not answer
	plays  []func(j *played) // what the command does, a start each; the last one again and again
	seen   [][]string        // the command of each start
	files  []string          // the hostfile of each start
	notes  []string          // what was told
	asked  func(host string) // is called at each probe
	super  *Supervisor
	mu     sync.Mutex // of dead, for probes
}

// played is a command that is not there.
type played struct {
	w      *world
	ended  chan ending
	asked  []string // to end, by these signals
	killed int
}

func (j *played) done() <-chan ending { return j.ended }

func (j *played) signal(name string) { j.asked = append(j.asked, name) }

func (j *played) kill() {
	j.killed++
	j.end(137, "signal: killed")
}

func (j *played) end(status int, text string) {
	j.ended <- ending{status: status, text: text, last: "train: the last words"}
}

// saves makes a checkpoint in the run's folder.
func (j *played) saves(step int) {
	if err := os.MkdirAll(filepath.Join(j.w.config.OutputDir, fmt.Sprintf("checkpoint-%d", step)), 0o755); err != nil {
		j.w.t.Error(err)
	}
}

// crash is what a command does that brings nothing about.
func crash(j *played) { j.end(1, "exit status 1") }

func finish(j *played) { j.end(0, "exit status 0") }

func newWorld(t *testing.T, hosts ...string) *world {
	w := &world{t: t, dead: map[string]error{}, config: Config{Command: []string{"mpirun", HostfilePlace, "ring={hosts}"}, OutputDir: t.TempDir(), MaxRestarts: 2}}
	for _, name := range hosts {
		w.config.Hosts = append(w.config.Hosts, Host{Name: name, Slots: 1})
	}
	if len(hosts) == 0 {
		w.config.Command = []string{"run"}
	}
	w.config.Note = func(line string) { w.notes = append(w.notes, line) }
	return w
}

// supervisor is made once, when all is said.
func (w *world) supervisor() *Supervisor {
	w.t.Helper()
	if w.super != nil {
		return w.super
	}
	s, err := New(w.config)
	if err != nil {
		w.t.Fatal(err)
	}
	w.super = s
	s.probe = func(ctx context.Context, host string) error {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.asked != nil {
			w.asked(host)
		}
		return w.dead[host]
	}
	s.launch = func(command []string) (job, error) {
		w.seen = append(w.seen, command)
		if len(w.config.Hosts) > 0 {
			text, err := os.ReadFile(command[1])
			if err != nil {
				w.t.Error(err)
			}
			w.files = append(w.files, string(text))
		}
		j := &played{w: w, ended: make(chan ending, 2)}
		w.plays[min(len(w.seen), len(w.plays))-1](j)
		return j, nil
	}
	return s
}

// supervise runs the whole story.
func (w *world) supervise(ctx context.Context) (Report, error) {
	w.t.Helper()
	return w.supervisor().Run(ctx)
}

func (w *world) wantNote(parts ...string) {
	w.t.Helper()
	for _, part := range parts {
		if !slices.ContainsFunc(w.notes, func(n string) bool { return strings.Contains(n, part) }) {
			w.t.Errorf("no line says %q:\n%s", part, strings.Join(w.notes, "\n"))
		}
	}
}

// wantStarts compares the numbers of a report.
func wantStarts(t *testing.T, got Report, want ...Start) {
	t.Helper()
	if got.Restarts != max(0, len(want)-1) || len(got.Starts) != len(want) {
		t.Fatalf("%d restarts, starts %+v, want %+v", got.Restarts, got.Starts, want)
	}
	for i, g := range got.Starts {
		w := want[i]
		if g.Status != w.Status || g.FromStep != w.FromStep || g.ToStep != w.ToStep || g.Stalled != w.Stalled || !slices.Equal(g.Hosts, w.Hosts) {
			t.Errorf("start %d is %+v, want %+v", i+1, g, w)
		}
	}
}

func TestACrashIsFollowedByARestartOnTheHostsThatAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "h1", "h2", "h3", "h4", "h5")
		w.config.MaxHosts = 4
		w.plays = []func(*played){
			func(j *played) { j.saves(950); w.dead["h3"] = errors.New("exit 255"); crash(j) },  // the spare takes its place
			func(j *played) { j.saves(1000); w.dead["h5"] = errors.New("exit 255"); crash(j) }, // and then there is none
			finish,
		}
		report, err := w.supervise(t.Context())
		if err != nil || !report.OK || report.Reason != "the command ended with exit status 0" {
			t.Fatalf("%+v, %v", report, err)
		}
		wantStarts(t, report,
			Start{Hosts: []string{"h1", "h2", "h3", "h4"}, Status: 1, FromStep: 0, ToStep: 950},
			Start{Hosts: []string{"h1", "h2", "h4", "h5"}, Status: 1, FromStep: 950, ToStep: 1000},
			Start{Hosts: []string{"h1", "h2", "h4"}, FromStep: 1000, ToStep: 1000})
		if w.files[2] != "h1 slots=1\nh2 slots=1\nh4 slots=1\n" || w.seen[0][2] != "ring=4" || w.seen[2][2] != "ring=3" {
			t.Errorf("the last hostfile is %q, the commands %q", w.files[2], w.seen)
		}
		for _, command := range w.seen {
			if _, err := os.Stat(command[1]); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("hostfile %s is left: %v", command[1], err)
			}
		}
		w.wantNote("supervise: start 1 on 4 hosts: h1 h2 h3 h4", "supervise: h3 does not answer (exit 255)",
			"supervise: ended with exit status 1 after 0.0 s at step 950; restart 1 in 1 s", "supervise: start 3 on 3 hosts: h1 h2 h4")
	})
}

func TestRestartsInARowWithoutProgressEnd(t *testing.T) {
	for name, c := range map[string]struct {
		max    int
		steps  []int // of the newest checkpoint after each start
		starts int
		want   string
	}{
		"never a checkpoint":      {2, []int{0, 0, 0}, 3, "2 restarts in a row brought no progress, and there is no checkpoint; the command ended with exit status 1: train: the last words"},
		"progress counts anew":    {2, []int{10, 10, 20, 20, 20}, 5, "2 restarts in a row brought no progress, and the newest checkpoint is that of step 20"},
		"one is allowed":          {1, []int{10, 10}, 2, "a restart brought no progress"},
		"none is allowed":         {0, []int{10}, 1, "no restarts are allowed, and the newest checkpoint is that of step 10"},
		"an older one is no gain": {1, []int{10, 5}, 2, "the newest checkpoint is that of step 10"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.config.MaxRestarts = c.max
				for _, step := range c.steps {
					w.plays = append(w.plays, func(j *played) {
						if step > 0 {
							j.saves(step)
						}
						crash(j)
					})
				}
				report, err := w.supervise(t.Context())
				if err == nil || report.OK || errors.Is(err, ErrRefused) || errors.Is(err, ErrInterrupted) || !strings.Contains(report.Reason, c.want) {
					t.Errorf("%v, want %q", err, c.want)
				}
				if len(report.Starts) != c.starts {
					t.Errorf("%d starts, want %d", len(report.Starts), c.starts)
				}
			})
		})
	}
}

func TestPausesGrowUntilThereIsProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.config.MaxRestarts = 9
		var at []time.Duration
		began := time.Now()
		for i := range 9 {
			w.plays = append(w.plays, func(j *played) {
				at = append(at, time.Since(began))
				if i == 7 {
					j.saves(1)
				}
				crash(j)
			})
		}
		w.plays[8] = func(j *played) { at = append(at, time.Since(began)); finish(j) }
		if _, err := w.supervise(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, want := range []time.Duration{1, 2, 4, 8, 16, 30, 30, 1} {
			if got := at[i+1] - at[i]; got != want*time.Second {
				t.Errorf("pause %d is %v, want %d s", i+1, got, want)
			}
		}
	})
}

func TestExitStatuses2And130AreNotRestarted(t *testing.T) {
	for status, want := range map[int]error{2: ErrRefused, 130: ErrInterrupted} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.plays = []func(*played){crash, func(j *played) { j.end(status, fmt.Sprint("exit status ", status)) }}
			report, err := w.supervise(t.Context())
			if !errors.Is(err, want) || report.OK {
				t.Errorf("%v, want %v", err, want)
			}
			wantStarts(t, report, Start{Hosts: nil, Status: 1}, Start{Status: status})
		})
	}
}

func TestTooFewHostsAreWaitedForAndNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "h1", "h2", "h3")
		w.config.MinHosts, w.config.Wait = 3, time.Minute
		w.dead["h2"], w.dead["h3"] = errors.New("exit 255"), errors.New("no answer within 5s")
		began := time.Now()
		report, err := w.supervise(t.Context())
		if err == nil || len(report.Starts) != 0 || time.Since(began) != time.Minute {
			t.Errorf("%+v, %v after %v", report, err, time.Since(began))
		}
		for _, part := range []string{"1 of 3 hosts answer", "at least 3", "h2 (exit 255)", "h3 (no answer within 5s)"} {
			if !strings.Contains(report.Reason, part) {
				t.Errorf("%q does not say %q", report.Reason, part)
			}
		}
		if n := len(w.notes); n > 10 {
			t.Errorf("%d lines tell it", n)
		}

		w.notes, w.plays = nil, []func(*played){finish}
		w.asked = func(string) {
			if time.Since(began) > 70*time.Second { // 10 s later they are back
				delete(w.dead, "h2")
				delete(w.dead, "h3")
			}
		}
		report, err = w.supervise(t.Context())
		if err != nil || len(report.Starts) != 1 || len(report.Starts[0].Hosts) != 3 {
			t.Errorf("%+v, %v", report, err)
		}
		w.wantNote("1 of 3 hosts answer, at least 3 are needed; probing again in 4 s")
	})
}

// TestAnInterruptIsPassedOnOnce wants a save, and a kill only where there is none in time.
func TestAnInterruptIsPassedOnOnce(t *testing.T) {
	for name, c := range map[string]struct {
		signals int
		play    func(j *played)
		killed  int
		status  int
	}{
		"it saves":            {1, func(j *played) { time.Sleep(20 * time.Second); j.end(130, "exit status 130") }, 0, 130},
		"it fails":            {1, func(j *played) { time.Sleep(20 * time.Second); j.end(1, "exit status 1") }, 0, 1},
		"it says all is well": {1, func(j *played) { time.Sleep(20 * time.Second); finish(j) }, 0, 0}, // MPICH
		"it does not end":     {1, func(j *played) {}, 1, 137},
		"the second one ends": {2, func(j *played) {}, 1, 137},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				var j *played
				began := time.Now()
				w.plays = []func(*played){func(p *played) {
					j = p
					go c.play(p)
					go func() {
						for range c.signals {
							time.Sleep(10 * time.Second)
							w.super.Interrupt()
						}
					}()
				}}
				report, err := w.supervise(t.Context())
				if !errors.Is(err, ErrInterrupted) || report.OK || !slices.Equal(j.asked, []string{"USR1"}) || j.killed != c.killed {
					t.Errorf("%v, asked to end by %q, killed %d times", err, j.asked, j.killed)
				}
				if want := 20 * time.Second; name == "it does not end" {
					want = 40 * time.Second
					if time.Since(began) != want {
						t.Errorf("it took %v, want %v", time.Since(began), want)
					}
				} else if time.Since(began) != want {
					t.Errorf("it took %v, want %v", time.Since(began), want)
				}
				wantStarts(t, report, Start{Status: c.status})
			})
		})
	}
}

func TestAnInterruptEndsProbesAndPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, "h1")
		w.config.Wait = time.Hour
		w.dead["h1"] = errors.New("exit 255")
		time.AfterFunc(10*time.Second, w.supervisor().Interrupt)
		if report, err := w.supervise(t.Context()); !errors.Is(err, ErrInterrupted) || len(report.Starts) != 0 {
			t.Errorf("%+v, %v", report, err)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.plays = []func(*played){crash}
		time.AfterFunc(500*time.Millisecond, w.supervisor().Interrupt)
		if report, err := w.supervise(t.Context()); !errors.Is(err, ErrInterrupted) || len(report.Starts) != 1 {
			t.Errorf("%+v, %v", report, err)
		}
	})
}

// TestARestartWaitsForTheFolder plays a rank on another host that takes its time to notice that all is over.
func TestARestartWaitsForTheFolder(t *testing.T) {
	for name, c := range map[string]struct{ held, want time.Duration }{
		"it ends":               {10 * time.Second, 11 * time.Second},
		"it stays for too long": {time.Hour, 31 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				began := time.Now()
				var restarted time.Duration
				w.plays = []func(*played){
					func(j *played) {
						unlock, err := checkpoint.Lock(w.config.OutputDir)
						if err != nil {
							t.Error(err)
							return
						}
						timer := time.AfterFunc(c.held, unlock)
						t.Cleanup(func() {
							if timer.Stop() {
								unlock()
							}
						})
						crash(j)
					},
					func(j *played) { restarted = time.Since(began); finish(j) },
				}
				if _, err := w.supervise(t.Context()); err != nil {
					t.Fatal(err)
				}
				if restarted < c.want-time.Second || restarted > c.want+time.Second {
					t.Errorf("restarted after %v, want %v", restarted, c.want)
				}
				w.wantNote("waiting: checkpoint: another run (process")
			})
		})
	}
}

func TestAStallIsEndedAndRestarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.config.Stall, w.config.KillAfter = time.Minute, 10*time.Second
		metrics := filepath.Join(w.config.OutputDir, "metrics.jsonl")
		var stuck *played
		var lived time.Duration
		began := time.Now()
		w.plays = []func(*played){
			func(j *played) {
				stuck = j
				go func() {
					for range 5 { // steps, and then none
						time.Sleep(50 * time.Second)
						f, err := os.OpenFile(metrics, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
						if err != nil {
							t.Error(err)
							return
						}
						_, _ = f.WriteString("{}\n")
						_ = f.Close()
					}
				}()
			},
			func(j *played) { lived = time.Since(began); finish(j) },
		}
		report, err := w.supervise(t.Context())
		if err != nil || !slices.Equal(stuck.asked, []string{"TERM"}) || stuck.killed != 1 {
			t.Errorf("%v; asked to end by %q, killed %d times", err, stuck.asked, stuck.killed)
		}
		wantStarts(t, report, Start{Status: 137, Stalled: true}, Start{})
		if want := 250*time.Second + time.Minute; lived < want || lived > want+20*time.Second {
			t.Errorf("restarted after %v, want somewhat more than %v", lived, want)
		}
		w.wantNote("metrics.jsonl has had no new line for 1m0s")
	})
}

func TestTheEndOfTheContextEndsTheCommand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		w := newWorld(t)
		var j *played
		w.plays = []func(*played){func(p *played) { j = p }}
		if _, err := w.supervise(ctx); !errors.Is(err, context.DeadlineExceeded) || j.killed != 1 {
			t.Errorf("%v, killed %d times", err, j.killed)
		}
	})
}
