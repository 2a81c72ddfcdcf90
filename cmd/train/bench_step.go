package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/ops/bench"
	"github.com/ringgrad/ringgrad/ops/meter"
	"github.com/ringgrad/ringgrad/trainer"
	"github.com/ringgrad/ringgrad/trainer/config"
)

// stepReport is `train bench step --json`.
type stepReport struct {
	Results  []stepResult   `json:"results"`
	Ceilings bench.Ceilings `json:"ceilings"`
}

type stepResult struct {
	Pass            string  `json:"pass"` // step
	Device          string  `json:"device"`
	ISA             string  `json:"isa"`
	Parameters      int64   `json:"parameters"`
	Seq             int     `json:"seq"`
	DType           string  `json:"dtype"`
	Ring            int     `json:"ring"`
	Layout          string  `json:"layout"`
	Threads         int     `json:"threads"`
	Tokens          int64   `json:"tokens"` // in a step
	TokensPerSecond float64 `json:"tokens_per_second"`
	PeakMemory      int64   `json:"peak_memory_bytes"`      // of this process so far
	EstimatedMemory int64   `json:"estimated_memory_bytes"` // as train estimate says
	bench.Figures
	Parts []stepPart `json:"parts"`
}

// stepPart is a rank's time, mean over the ranks.
type stepPart struct {
	Part  string  `json:"part"`
	MS    float64 `json:"ms"`
	Share float64 `json:"share"` // of the step's wall time
}

func newBenchStep(out *output) *cobra.Command {
	var f benchFlags
	var path string
	var set []string
	var random bool
	cmd := &cobra.Command{
		Use:   "step --config FILE",
		Short: "Measure training steps, and what their time goes into",
		Long: "step trains the run of a config for some steps, each on full sequences, and writes nothing to its\n" +
			"output_dir. With --random it needs neither weights, nor tokenizer, nor data. The parts are the wall time\n" +
			"of a rank, mean over the ranks, so that ranks that share cores wait for each other within them:\n" +
			"\n" +
			"  attention, matmul   their kernels\n" +
			"  other ops           norms, rotations, activations, the softmax of the loss\n" +
			"  gorgonia            what the graph's machine does between ops\n" +
			"  ring wait           K, V, dK and dV that were not there in time\n" +
			"  optimizer           norm of the gradients, clipping, AdamW\n" +
			"  rest                sums of gradients over the ranks, copies, data",
		Example: "  train bench step --config configs/long.yaml --rounds 3 --set context_parallel_size=2",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := f.options()
			if err != nil {
				return err
			}
			if err := f.needCPU(); err != nil {
				return err
			}
			cfg, err := config.Load(path, set)
			if err != nil {
				return err
			}
			s, err := newStepBench(out, cfg, random, o)
			if err != nil {
				return err
			}
			defer s.close()
			report, err := s.run(cmd.Context())
			if err != nil {
				return computed(err)
			}
			if out.json {
				return out.document(report)
			}
			return printStep(out, report, o)
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the run's YAML `FILE`")
	cmd.Flags().BoolVar(&random, "random", false, "draw weights and tokens; of base_model only config.json is read")
	f.add(cmd, onCPU)
	addSet(cmd, &set)
	required(cmd, "config")
	return cmd
}

// errMeasured ends a training that has taught enough.
var errMeasured = errors.New("all rounds are measured")

// stepBench is told of every step by the first rank, while the others wait for it.
type stepBench struct {
	options bench.Options
	folder  string // of the training, for as long as it lasts
	trainer *trainer.Trainer
	plan    trainer.Plan
	laps    *bench.Laps
	warm    bool // a step with full sequences has built the graphs
	done    func()

	rates []float64            // tokens per second, an element a round
	parts map[string][]float64 // seconds, an element a round
}

// newStepBench reads what the config names. Its errors are mistakes in it.
func newStepBench(out *output, cfg config.Config, random bool, o bench.Options) (*stepBench, error) {
	folder, err := os.MkdirTemp("", "train-bench-")
	if err != nil {
		return nil, failed{err}
	}
	s := &stepBench{options: o, folder: folder, parts: map[string][]float64{}}
	s.trainer, err = trainer.New(onlySteps(cfg, folder, o.Rounds), trainer.Options{Random: random, Observer: trainer.Observer{
		Stepped: s.stepped,
		Noted:   func(message string) { out.notef("%s", message) },
	}})
	if err != nil {
		s.close()
		return nil, err
	}
	s.plan = s.trainer.Plan()
	if s.plan.TrainTokens < int64(cfg.SequenceLen) {
		s.close()
		return nil, fmt.Errorf("bench: the data have %s tokens, less than one sequence of %s; lower sequence_len or give more data",
			thousands(s.plan.TrainTokens), thousands(int64(cfg.SequenceLen)))
	}
	s.laps = bench.NewLaps(s.plan.Estimate.Flops.Total, leastBytes(s.plan), o.Threads)
	return s, nil
}

func (s *stepBench) close() { _ = os.RemoveAll(s.folder) }

// run trains until all rounds are measured. It ends the training by its context, since a training that ends by itself saves its
// model.
func (s *stepBench) run(ctx context.Context) (stepReport, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(s.options.Threads))
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.done = func() { cancel(errMeasured) }
	meter.Enable(true)
	defer meter.Enable(false)
	limitGarbage(s.plan.Memory)
	if _, err := s.trainer.Run(ctx); err != nil && !errors.Is(err, errMeasured) {
		return stepReport{}, err
	}
	return s.report()
}

// spareSteps are those that may be lost to a last sequence that is not full.
const spareSteps = 8

// onlySteps leaves of a config what a step needs.
func onlySteps(c config.Config, folder string, rounds int) config.Config {
	c.OutputDir = folder
	c.Concatenate = true // full sequences
	c.MaxSteps, c.NumEpochs = 2*rounds+spareSteps, 0
	c.WarmupSteps, c.WarmupRatio = 0, 0
	c.EvalSteps, c.SaveSteps, c.LoggingSteps = 0, 0, 1
	c.LossByPosition = false
	return c
}

func (s *stepBench) stepped(r trainer.StepReport) {
	full := int64(r.Tokens) == s.plan.TokensPerStep
	if s.warm {
		wall := s.laps.Stop().Seconds()
		if full {
			s.laps.Keep()
			s.keep(r, wall)
		}
	}
	s.warm = s.warm || full
	if s.laps.Kept() == s.options.Rounds || r.Step == r.Steps-1 {
		s.done()
		return
	}
	if s.warm {
		s.laps.Start()
		meter.Take()
	}
}

// The parts of a step, in the order in which they are shown.
var stepParts = []string{"attention", "matmul", "other_ops", "gorgonia", "ring_wait", "optimizer", "rest"}

// keep takes the spans, which lie inside each other, apart.
func (s *stepBench) keep(r trainer.StepReport, wall float64) {
	times := meter.Take()
	mean := func(p meter.Part) float64 { return times[p].Seconds() / float64(s.plan.Ring) }
	wait := r.RingWait * float64(r.Tokens) / r.TokensPerSecond
	programs, inOps, attention, products, update := mean(meter.Program), mean(meter.Op), mean(meter.Attention), mean(meter.Product), times[meter.Update].Seconds()
	for part, seconds := range map[string]float64{
		"attention": attention - wait, "matmul": products, "other_ops": inOps - products, "gorgonia": programs - inOps - attention,
		"ring_wait": wait, "optimizer": update, "rest": wall - programs - update,
	} {
		s.parts[part] = append(s.parts[part], max(seconds, 0))
	}
	s.rates = append(s.rates, float64(r.Tokens)/wall)
}

func (s *stepBench) report() (stepReport, error) {
	if s.laps.Kept() < s.options.Rounds {
		return stepReport{}, fmt.Errorf("bench: only %d of %d steps had %s tokens; lower sequence_len or micro_batch_size, or give more data",
			s.laps.Kept(), s.options.Rounds, thousands(s.plan.TokensPerStep))
	}
	peak := bench.PeakMemory()
	figures, ceilings := s.laps.Figures()
	p := s.plan
	r := stepResult{
		Pass: "step", Device: p.Device, ISA: ops.ISA(), Parameters: p.Parameters, Seq: p.SequenceLen, DType: "float32", Ring: p.Ring, Layout: p.Layout,
		Threads: s.options.Threads, Tokens: p.TokensPerStep, TokensPerSecond: middle(s.rates), PeakMemory: peak,
		EstimatedMemory: p.Estimate.Memory.Process, Figures: figures,
	}
	for _, part := range stepParts {
		seconds := middle(s.parts[part])
		r.Parts = append(r.Parts, stepPart{Part: part, MS: 1e3 * seconds, Share: 1e3 * seconds / figures.WallMS})
	}
	return stepReport{Results: []stepResult{r}, Ceilings: ceilings}, nil
}

// leastBytes of a step: forward, forward again and backward read the weights; gradients are written; the optimizer reads and writes
// them, the weights and two moments; the layers' inputs and attention's results are written and read.
func leastBytes(p trainer.Plan) float64 {
	m := p.Estimate.Memory
	kept := float64(p.Ring) * float64(m.Parts.LayerInputs+m.Parts.SavedAttention)
	return 12*float64(m.Shared.Weights) + 2*kept
}

// middle is the upper median.
func middle(values []float64) float64 {
	return slices.Sorted(slices.Values(values))[len(values)/2]
}
