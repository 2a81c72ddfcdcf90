package trainer

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/trainer/checkpoint"
	"github.com/ringgrad/ringgrad/trainer/config"
)

// plain hides an engine's abilities, as engines between processes have none.
type plain struct{ dist.Engine }

// trainedBy trains with so many processes, which are goroutines here, and gives their errors. change may give a process another config.
func trainedBy(t *testing.T, processes int, cfg config.Config, o Options, change func(process int, cfg *config.Config), prepare ...func(*run)) []error {
	t.Helper()
	errs := make([]error, processes)
	var all sync.WaitGroup
	for i, e := range local.NewWorld(processes) {
		all.Go(func() {
			own, o := cfg, o
			if change != nil {
				change(i, &own)
			}
			o.Processes = plain{e}
			trainer, err := New(own, o)
			if err == nil {
				for _, f := range prepare {
					f(trainer.run)
				}
				_, err = trainer.Run(t.Context())
			}
			if err != nil {
				_ = e.Close() // the process ends
			}
			errs[i] = err
		})
	}
	all.Wait()
	return errs
}

// mustTrain is trainedBy without errors.
func mustTrain(t *testing.T, processes int, cfg config.Config, o Options) {
	t.Helper()
	if err := errors.Join(trainedBy(t, processes, cfg, o, nil)...); err != nil {
		t.Fatal(err)
	}
}

// weights are the bytes of a folder's model.
func weights(t *testing.T, dir string) string {
	t.Helper()
	bytes, err := os.ReadFile(filepath.Join(dir, "model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	return string(bytes)
}

// meshed is a tiny run whose steps have four micro-batches, dealt to so many rings.
func meshed(t *testing.T, rings, size int) config.Config {
	cfg := tinyRun(t)
	cfg.DataParallelSize, cfg.ContextParallelSize = rings, size
	cfg.GradientAccumulationSteps = 4 / rings
	cfg.ValSetSize, cfg.EvalSteps = 3, 3
	return cfg
}

// outputIn puts a run's output beside another's, with the same data.
func outputIn(cfg config.Config, name string) config.Config {
	cfg.OutputDir = filepath.Join(filepath.Dir(cfg.OutputDir), name)
	return cfg
}

func TestProcessesGiveTheBitsOfGoroutines(t *testing.T) {
	for _, m := range []struct{ rings, size, processes int }{{1, 4, 2}, {1, 4, 4}, {2, 2, 2}, {2, 2, 4}, {4, 1, 2}} {
		cfg := meshed(t, m.rings, m.size)
		cfg.RingInnerSize = 1
		trained(t, cfg, Options{})
		want, points := weights(t, cfg.OutputDir), curve(t, cfg.OutputDir)
		for _, stage := range []int{0, 1} {
			cfg := outputIn(cfg, fmt.Sprintf("zero%d", stage))
			cfg.ZeroStage = stage
			mustTrain(t, m.processes, cfg, Options{})
			if weights(t, cfg.OutputDir) != want || !slices.Equal(curve(t, cfg.OutputDir), points) {
				t.Errorf("%d x %d ranks in %d processes, zero_stage %d: not the bits of one process", m.rings, m.size, m.processes, stage)
			}
		}
	}
}

// A step is the same whether its micro-batches come one after the other or to several rings.
func TestRingsSideBySideLearnWhatOneRingLearns(t *testing.T) {
	one := meshed(t, 1, 1)
	trained(t, one, Options{})
	want := curve(t, one.OutputDir)
	for _, m := range []struct{ rings, size int }{{2, 1}, {4, 1}, {2, 3}} {
		cfg := outputIn(one, fmt.Sprintf("%dx%d", m.rings, m.size))
		cfg.DataParallelSize, cfg.ContextParallelSize, cfg.GradientAccumulationSteps = m.rings, m.size, 4/m.rings
		trained(t, cfg, Options{})
		for i, p := range curve(t, cfg.OutputDir) {
			w := want[i]
			if p.Tokens != w.Tokens || p.Epoch != w.Epoch || !near(p.Loss, w.Loss) || !near(p.GradNorm, w.GradNorm) || !near(p.EvalLoss, w.EvalLoss) {
				t.Errorf("%d x %d ranks: %+v, one rank: %+v", m.rings, m.size, p, w)
			}
		}
	}
}

func near(a, b float64) bool { return a == b || max(a, b)-min(a, b) <= 1e-5*max(a, b) }

func TestPackedRowsAndPositionsAreSharedOutOverRings(t *testing.T) {
	one := meshed(t, 1, 1)
	one.SamplePacking, one.LossByPosition, one.LossByPositionWindow, one.LossByPositionDocuments = true, true, 8, 3
	one.SequenceLen = 9
	first := trained(t, one, Options{})
	cfg := outputIn(one, "2x2")
	cfg.DataParallelSize, cfg.ContextParallelSize, cfg.GradientAccumulationSteps = 2, 2, 2
	second := trained(t, cfg, Options{})
	if !near(first.Loss, second.Loss) || !near(*first.EvalLoss, *second.EvalLoss) {
		t.Errorf("losses %v and %v of one rank, %v and %v of 2 x 2", first.Loss, *first.EvalLoss, second.Loss, *second.EvalLoss)
	}
	for i, bin := range first.LossBy.After.ByPosition {
		if other := second.LossBy.After.ByPosition[i]; !near(bin.Loss, other.Loss) || bin.Tokens != other.Tokens {
			t.Errorf("positions from %d: %+v of one rank, %+v of 2 x 2", bin.From, bin, other)
		}
	}
}

// A checkpoint of any mesh is continued by any other; by the same one with the same bits.
func TestCheckpointsOfAnyMeshAreResumedByAnyOther(t *testing.T) {
	type shape struct{ rings, size, processes, stage int }
	shapes := []shape{{2, 2, 4, 1}, {1, 1, 1, 0}, {4, 1, 2, 1}, {1, 3, 3, 0}, {4, 1, 4, 1}}
	set := func(cfg *config.Config, s shape) {
		cfg.DataParallelSize, cfg.ContextParallelSize, cfg.GradientAccumulationSteps, cfg.ZeroStage = s.rings, s.size, 4/s.rings, s.stage
	}
	base := meshed(t, 1, 1)
	base.SaveSteps = 5
	for _, from := range shapes {
		cfg := outputIn(base, fmt.Sprint("from", from))
		set(&cfg, from)
		mustTrain(t, from.processes, cfg, Options{})
		whole := curve(t, cfg.OutputDir)
		want := weights(t, cfg.OutputDir)
		for i, to := range shapes {
			resumed := outputIn(base, fmt.Sprint("from", from, "to", to))
			set(&resumed, to)
			mustTrain(t, to.processes, resumed, Options{Resume: filepath.Join(cfg.OutputDir, "checkpoint-5")})
			points := curve(t, resumed.OutputDir)
			last, wanted := points[len(points)-1], whole[len(whole)-1]
			if !near(last.Loss, wanted.Loss) || !near(last.EvalLoss, wanted.EvalLoss) {
				t.Errorf("from %v to %v: ends at %+v, undisturbed at %+v", from, to, last, wanted)
			}
			if to == from && weights(t, resumed.OutputDir) != want {
				t.Errorf("%v, shape %d: not the bits of the undisturbed run", from, i)
			}
		}
	}
}

func TestAShareThatCannotBeWrittenLeavesTheEarlierCheckpoint(t *testing.T) {
	cfg := meshed(t, 2, 1)
	cfg.ZeroStage, cfg.SaveSteps, cfg.SaveTotalLimit = 1, 2, 0
	saves := 0
	block := func(r *run) {
		r.saving = func(dir string) {
			if r.dealt.process == 1 {
				if saves++; saves == 2 { // a folder is in the file's place
					_ = os.Mkdir(filepath.Join(dir, "optimizer-00002-of-00002.safetensors"), 0o755)
				}
			}
		}
	}
	errs := trainedBy(t, 2, cfg, Options{}, nil, block)
	for i, err := range errs {
		if err == nil || !strings.Contains(err.Error(), "share 2 of the optimizer's state") || !strings.Contains(err.Error(), "is a directory") {
			t.Errorf("process %d: %v, want the share and the reason", i, err)
		}
	}
	list, err := checkpoint.List(cfg.OutputDir)
	if err != nil || len(list) != 1 || list[0].Step != 2 || checkpoint.Verify(list[0].Path) != nil {
		t.Errorf("checkpoints %v, %v: want that of step 2, whole", list, err)
	}
	if left, _ := filepath.Glob(filepath.Join(cfg.OutputDir, ".tmp-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAShareWantsAFolderThatAllSee(t *testing.T) {
	cfg := meshed(t, 2, 1)
	cfg.ZeroStage = 1
	elsewhere := func(r *run) {
		if r.dealt.process == 1 { // as if it were another file system
			r.cfg.OutputDir = filepath.Join(t.TempDir(), "out")
		}
	}
	for _, err := range trainedBy(t, 2, cfg, Options{}, nil, elsewhere) {
		wantError(t, err, "is not seen on "+dist.Hostname(), "zero_stage: 0")
	}
}

func TestProcessesThatDifferAreRefusedByWhatDiffers(t *testing.T) {
	cfg := meshed(t, 1, 2)
	errs := trainedBy(t, 2, cfg, Options{}, func(process int, cfg *config.Config) {
		cfg.LearningRate *= float64(1 + process)
	})
	for i, err := range errs {
		want := "config key learning_rate differs: process 1 on " + dist.Hostname() + " has 0.02, process 0 on " + dist.Hostname() + " has 0.01"
		if !errors.Is(err, ErrInput) || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("process %d: %v, want %q", i, err, want)
		}
	}
	if _, err := os.Stat(cfg.OutputDir); err == nil {
		t.Error("output_dir was made")
	}
	facts, err := prepared(t, cfg, Options{}).run.facts()
	if err != nil {
		t.Fatal(err)
	}
	facts = append(facts, fact{"host", "h1"})
	for i := range facts[:len(facts)-1] {
		other := slices.Clone(facts)
		other[i].Value, other[len(other)-1].Value = "another", "h3"
		wantError(t, difference(other, facts, 2), facts[i].Name+" differs", "process 2 on h3 has another", "process 0 on h1")
	}
	wantError(t, difference(facts[1:], facts, 2), "different versions")
	if err := difference(facts, facts, 2); err != nil {
		t.Error(err)
	}
}

func TestRanksThatCannotBeDealtAreRefused(t *testing.T) {
	for _, c := range []struct {
		rings, size, stage, processes int
		want                          string
	}{
		{1, 4, 0, 3, "the ranks of data_parallel_size 1 x context_parallel_size 4 cannot be dealt to 3 processes"},
		{3, 2, 1, 2, "rings of 2 ranks (context_parallel_size) and processes of 3 do not fit"},
	} {
		cfg := meshed(t, c.rings, c.size)
		cfg.ZeroStage = c.stage
		for _, err := range trainedBy(t, c.processes, cfg, Options{}, nil) {
			wantError(t, err, c.want)
		}
	}
}

func TestAConfigOfOneRankBecomesARingOfTheProcesses(t *testing.T) {
	cfg := meshed(t, 1, 1)
	mustTrain(t, 3, cfg, Options{})
	want := outputIn(cfg, "goroutines")
	want.ContextParallelSize = 3
	trained(t, want, Options{})
	if weights(t, cfg.OutputDir) != weights(t, want.OutputDir) {
		t.Error("not the bits of a ring of 3")
	}
}

func TestARingOverProcessesOfSeveralRanksIsADoubleRing(t *testing.T) {
	for _, c := range []struct{ size, ulysses, inner, processes, want int }{
		{4, 1, 0, 2, 2}, {4, 1, 1, 2, 1}, {4, 1, 0, 1, 1}, {4, 1, 0, 4, 1}, {8, 2, 0, 2, 2}, {8, 2, 0, 4, 1}, {8, 1, 4, 4, 4},
	} {
		cfg := config.Default()
		cfg.ContextParallelSize, cfg.UlyssesSize, cfg.RingInnerSize = c.size, c.ulysses, c.inner
		if _, err := deal(&cfg, local.NewWorld(c.processes)[0]); err != nil || cfg.RingInnerSize != c.want {
			t.Errorf("%+v: inner ring of %d, %v", c, cfg.RingInnerSize, err)
		}
	}
}
