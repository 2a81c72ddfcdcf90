package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/trainer"
	"github.com/ringgrad/ringgrad/trainer/config"
	"github.com/ringgrad/ringgrad/trainer/estimate"
	"github.com/ringgrad/ringgrad/trainer/hf"
)

// prediction is `train estimate --json`.
type prediction struct {
	estimate.Estimate
	*estimate.Forecast                // with --hosts
	WireBytes          int64          `json:"wire_bytes_per_step"`
	Speed              estimate.Speed `json:"speed"` // of this machine, or as given
	SecondsPerStep     float64        `json:"seconds_per_step"`
	TokensPerSecond    float64        `json:"tokens_per_second"`
	MemoryLimit        config.Bytes   `json:"memory_limit_bytes,omitempty"`
}

func newEstimate(out *output) *cobra.Command {
	var path string
	var set []string
	var gflops float64
	var hosts hostsFlags
	cmd := &cobra.Command{
		Use:   "estimate --config FILE",
		Short: "Predict memory per rank, bytes on the wire and time per step, before a run",
		Long: "estimate reads the config and the model's config.json, neither weights nor data. The time is that of the arithmetic, at the\n" +
			"speed of this machine, which is measured in a moment; --gflops gives another one.\n\n" +
			"With --hosts and --link it is that of a step on so many machines as fast as this one, each with cores of its own and one process, and\n" +
			"with what of communication is not hidden; and the fastest layout for as many ranks is named. Where hosts share the cores of one machine,\n" +
			"give each its part: --cores 0.5 for four hosts on two cores.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.Load(path, set)
			if err != nil {
				return err
			}
			m, err := modelOf(cfg)
			if err != nil {
				return err
			}
			if cmd.Flags().Changed("gflops") && !(gflops > 0) {
				return fmt.Errorf("estimate: --gflops %v: give the machine's speed in 10^9 operations a second, such as 100", gflops)
			}
			if err := hosts.check(); err != nil {
				return err
			}
			speed := estimate.Speed{Products: gflops, Attention: gflops}
			if gflops == 0 {
				if speed, err = measureSpeed(cmd.Context(), m); err != nil {
					return failed{err}
				}
				if hosts.hosts > 0 {
					speed = hosts.share(speed)
				}
			}
			p, err := predict(m, cfg, speed, hosts)
			if err != nil {
				return err
			}
			p.MemoryLimit = cfg.MemoryLimit
			return printPrediction(out, p)
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "the run's YAML file")
	cmd.Flags().Float64Var(&gflops, "gflops", 0, "the machine's speed in 10^9 operations a second (default: measured)")
	hosts.add(cmd.Flags())
	addSet(cmd, &set)
	required(cmd, "config")
	return cmd
}

// modelOf reads the model that a config trains.
func modelOf(cfg config.Config) (m hf.Config, err error) {
	if cfg.BaseModel != "" {
		m, err = hf.ReadConfig(cfg.BaseModel)
	} else {
		m, err = hf.ConfigFromMap(cfg.Model)
	}
	if err != nil {
		return m, err
	}
	return m, cfg.CheckHeads(m.NumHeads, m.NumKVHeads)
}

func predict(m hf.Config, cfg config.Config, s estimate.Speed, hosts hostsFlags) (prediction, error) {
	p := prediction{Speed: s}
	if hosts.hosts == 0 {
		p.Estimate = estimate.For(m, cfg)
		p.SecondsPerStep = p.Estimate.Seconds(s)
	} else {
		on, err := hosts.cluster(s)
		if err != nil {
			return p, err
		}
		e, f, err := estimate.ForHosts(m, cfg, on)
		if err != nil {
			return p, err
		}
		p.Estimate, p.Forecast, p.SecondsPerStep = e, &f, f.Seconds
	}
	p.WireBytes = p.Estimate.WireBytes()
	if p.SecondsPerStep > 0 {
		p.TokensPerSecond = float64(p.TokensPerStep) / p.SecondsPerStep
	}
	return p, nil
}

func printPrediction(out *output, p prediction) error {
	if out.json {
		return out.document(p)
	}
	r := p.Run
	rings := fmt.Sprintf("ring of %d", r.Ring)
	if r.Data > 1 {
		rings = fmt.Sprintf("%d rings of %d", r.Data, r.Ring)
	}
	_, err := fmt.Fprintf(out.stdout, "%s parameters; a step has %s tokens: %d x %s, accumulated %d times; %s, %s\n",
		thousands(p.Model.Parameters), thousands(p.TokensPerStep), r.Data*r.MicroBatch, thousands(int64(r.SequenceLen)), r.Accumulation, rings, r.Layout)
	if err != nil {
		return err
	}
	if err := printEstimate(out, p.Estimate); err != nil {
		return err
	}
	if p.Forecast != nil {
		if err := printForecast(out, p); err != nil {
			return err
		}
	}
	if limit := p.MemoryLimit; limit > 0 {
		verdict := "it holds"
		if config.Bytes(p.Memory.Process) > limit {
			verdict = "a run is refused"
		}
		if err := out.printf("memory_limit %s: %s\n", limit, verdict); err != nil {
			return err
		}
	}
	_, err = fmt.Fprintf(out.stdout, "about %.2f s a step, %s tokens a second, at %.0f Gflop/s in matrix products and %.0f in attention\n",
		p.SecondsPerStep, thousands(int64(p.TokensPerSecond)), p.Speed.Products, p.Speed.Attention)
	return err
}

// printPlan shows what a run would do: --dry-run.
func printPlan(out *output, p trainer.Plan) error {
	for _, row := range headerRows(p, out.job) {
		if _, err := fmt.Fprintf(out.stdout, "%-10s %s\n", row[0], row[1]); err != nil {
			return err
		}
	}
	return printEstimate(out, p.Estimate)
}

// printEstimate shows what a step takes as three tables.
func printEstimate(out *output, e estimate.Estimate) error {
	if err := out.table([]string{"memory", "in all", "largest rank"}, memoryRows(e.Memory)); err != nil {
		return err
	}
	if err := out.table([]string{"on the wire, each step", "hops of a rank", "bytes of all ranks"}, wireRows(e.Wire)); err != nil {
		return err
	}
	if err := out.table([]string{"arithmetic, each step", "Gflop", "share"}, flopRows(e.Flops)); err != nil {
		return err
	}
	if e.Run.Ring > 1 {
		if err := out.paragraph(fmt.Sprintf("round the ring travels %s: %s", e.Travel.Travel, e.Travel.Reason), "    "); err != nil {
			return err
		}
	}
	if e.Mask == "" {
		return nil
	}
	return out.paragraph("documents: "+e.Mask, "    ")
}

func memoryRows(m estimate.Memory) [][]string {
	shared := func(name string, bytes int64) []string { return []string{name, bytesText(bytes), ""} }
	ranked := func(name string, bytes int64) []string { return []string{name, "", bytesText(bytes)} }
	s, p := m.Shared, m.Parts
	rows := [][]string{
		shared("program", s.Program),
		shared("weights", s.Weights),
		shared("gradients, complete", s.Gradients),
		shared("optimizer", s.Optimizer),
	}
	if s.Data > 0 {
		rows = append(rows, shared("data", s.Data))
	}
	if s.Arriving > 0 {
		rows = append(rows, shared("gradients, arriving", s.Arriving))
	}
	return append(rows,
		ranked("inputs of layers", p.LayerInputs),
		ranked("attention's output in layers", p.SavedAttention),
		ranked("activations, one layer", p.Activations),
		ranked("their gradients", p.ActivationGrads),
		ranked("attention at work", p.Attention),
		ranked("ring buffers", p.RingBuffers),
		ranked("gradients, incomplete", p.WeightGrads),
		ranked("chunk of logits", p.CrossEntropy),
		ranked("tables and batches", p.Tables),
		[]string{"garbage and gaps", bytesText(m.Garbage), ""},
		[]string{"all", bytesText(m.Process), bytesText(m.Rank)})
}

// wireNames are the rows of the table; those after the first three, and outer hops, only where something is sent.
var wireNames = []struct {
	kind dist.Kind
	name string
}{
	{dist.ForwardKV, "forward: K, V"}, {dist.BackwardKV, "backward: K, V"}, {dist.BackwardDKV, "backward: dK, dV"},
	{dist.ForwardQ, "forward: Q"}, {dist.ForwardCarry, "forward: O, m, l"}, {dist.BackwardQ, "backward: Q, dO"}, {dist.BackwardDQ, "backward: dQ"},
	{dist.Ulysses, "rows for heads (Ulysses)"}, {dist.Collective, "sums of gradients"},
}

func wireRows(w estimate.Wire) [][]string {
	var rows [][]string
	add := func(name string, t estimate.Traffic) {
		rows = append(rows, []string{name, thousands(t.Hops), bytesText(t.Bytes)})
	}
	for _, row := range wireNames {
		if t, ok := w[row.kind]; ok {
			add(row.name, t)
		}
		if t, ok := w[row.kind.Outer()]; ok {
			add(row.name+", between rings", t)
		}
	}
	return append(rows, []string{"all", "", bytesText(w.Bytes())})
}

func flopRows(f estimate.Flops) [][]string {
	row := func(name string, flops float64) []string {
		return []string{name, fmt.Sprintf("%.1f", flops/1e9), fmt.Sprintf("%.1f %%", 100*flops/f.Total)}
	}
	return [][]string{
		row("layers, forward", f.Forward),
		row("layers, forward again", f.Recompute),
		row("layers, backward", f.Backward),
		row("attention, forward", f.AttentionForward),
		row("attention, backward", f.AttentionBackward),
		row("logits", f.Head),
		row("all", f.Total),
	}
}
