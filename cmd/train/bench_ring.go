package main

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/hosts"
	"github.com/ringgrad/ringgrad/dist/overlap"
	"github.com/ringgrad/ringgrad/dist/trace"
)

// ringReport is `train bench ring --json`.
type ringReport struct {
	Ranks   int              `json:"ranks"`
	Hosts   int              `json:"hosts"`
	Engine  string           `json:"engine"`
	Threads int              `json:"threads"` // of each rank's compute
	Results []overlap.Result `json:"results"`
}

// hopTimeout is how long one message may take; the largest block over a link of 100 Mbit/s needs a minute and a half.
const hopTimeout = 5 * time.Minute

// ringBench is what the flags ask for.
type ringBench struct {
	overlap.Config
	ranks int
	trace string // a file
}

func newBenchRing(out *output) *cobra.Command {
	var b ringBench
	cmd := &cobra.Command{
		Use:   "ring",
		Short: "Measure what a hop of the ring costs, and how much of it hides behind compute",
		Long: "ring sends a block to the next rank and takes that of the rank before: alone (transfer), and while it computes\n" +
			"(hop). Compute is float32 multiply-adds in the cache on --threads threads of each rank, as many as it takes for\n" +
			"--compute times the transfer, which is found out in the same run. With full overlap a hop takes as long as the\n" +
			"longer of the two, and the ratio is 1.\n" +
			"\n" +
			"All ranks begin a round together, and its times are those of the slowest one. Ranks in one process hand memory\n" +
			"over, which takes some microseconds whatever the size.",
		Example: "  train bench ring --ranks 4\n" +
			"  train bench ring --sizes 16,64 --compute 0.75 --trace hops.json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if !cmd.Flags().Changed("ranks") {
				b.ranks = out.job.ranks(b.ranks)
			}
			if err := b.check(cmd); err != nil {
				return err
			}
			return b.run(cmd.Context(), out)
		},
	}
	f := cmd.Flags()
	f.IntSliceVar(&b.MiB, "sizes", []int{1, 4, 16, 64}, "`MiB` of the blocks")
	f.IntVar(&b.ranks, "ranks", 2, "ranks of the ring (default under a launcher: its processes)")
	f.Float64Var(&b.Compute, "compute", 0.75, "time of compute over that of a transfer")
	f.IntVar(&b.Rounds, "rounds", 9, "rounds that the medians are of")
	f.IntVar(&b.Threads, "threads", 0, "threads that a rank computes on (default: its share of the process's, as in a training)")
	f.StringVar(&b.trace, "trace", "", "write a hop of each size to `FILE`, for chrome://tracing or Perfetto")
	return cmd
}

func (b *ringBench) check(cmd *cobra.Command) error {
	for _, name := range []string{"compute", "rounds", "threads"} {
		if f := cmd.Flags().Lookup(name); f.Changed && f.Value.String() == "0" {
			return fmt.Errorf("bench: --%s 0: give a positive number", name)
		}
	}
	if b.ranks < 2 {
		return fmt.Errorf("bench: --ranks %d: a ring has hops from 2 ranks on", b.ranks)
	}
	return b.Validate()
}

func (b *ringBench) run(ctx context.Context, out *output) error {
	if b.trace != "" {
		b.Trace = &trace.Recorder{}
	}
	report := ringReport{Ranks: b.ranks, Hosts: 1, Engine: "local"}
	if err := b.measure(ctx, out.job, &report); err != nil || !out.job.speaks() {
		return err // only the first process has what is written now
	}
	if err := writeTrace(out, b.trace, b.Trace); err != nil {
		return failed{err}
	}
	if out.json {
		return out.document(report)
	}
	return b.print(out, report)
}

// measure fills in where the ranks are and, in the process of the first one, the results.
func (b *ringBench) measure(ctx context.Context, j *job, report *ringReport) error {
	here := report.Ranks
	wire, err := j.join(ctx)
	if err != nil {
		return err
	}
	if wire != nil {
		if report.Ranks%wire.Size() != 0 {
			return fmt.Errorf("bench: --ranks %d cannot be dealt to %d processes; give a multiple", report.Ranks, wire.Size())
		}
		here, report.Hosts, report.Engine = report.Ranks/wire.Size(), len(j.hosts()), j.process.Library()
	}
	if b.Threads == 0 {
		b.Threads = max(1, runtime.GOMAXPROCS(0)/here)
	}
	report.Threads = b.Threads
	err = hosts.Run(ctx, wire, here, dist.Options{Timeout: hopTimeout}, func(ctx context.Context, c *dist.Comm) error {
		results, err := overlap.Measure(ctx, c, b.Config)
		if c.Rank() == 0 {
			report.Results = results
		}
		return err
	})
	if err != nil {
		return failed{err}
	}
	return nil
}

func (b *ringBench) print(out *output, r ringReport) error {
	if err := out.printf("a ring of %s on %s, %s; %s of each compute\n", count(r.Ranks, "rank"), count(r.Hosts, "host"), r.Engine, count(r.Threads, "thread")); err != nil {
		return err
	}
	rows := make([][]string, len(r.Results))
	for i, x := range r.Results {
		rows[i] = []string{
			thousands(int64(x.MiB)), millis(x.TransferMS), millis(x.ComputeMS), millis(x.HopMS), millis(x.HopMin),
			fmt.Sprintf("%.2f", x.Ratio), fmt.Sprintf("%.2f", x.RatioMin), fmt.Sprintf("%.2f", x.GBsPerSecond), fmt.Sprintf("%.0f %%", 100*x.Hidden),
		}
	}
	if err := out.table([]string{"MiB", "transfer ms", "compute ms", "hop ms", "shortest", "÷ longer", "shortest", "GB/s", "hidden"}, rows); err != nil {
		return err
	}
	return out.paragraph(fmt.Sprintf("medians of %s, each time that of the slowest rank; ÷ longer: a hop over the longer of transfer and compute, 1 with full overlap; "+
		"GB/s: what a rank sends, and receives, in a transfer; hidden: of the shorter one", count(b.Rounds, "round")), "")
}
