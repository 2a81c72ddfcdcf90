package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/dist/trace"
	"github.com/ringgrad/ringgrad/ops/bench"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

func newBenchAttention(out *output) *cobra.Command {
	var f benchFlags
	var a bench.Attention
	var masks maskFlags
	var layout, tracePath string
	cmd := &cobra.Command{
		Use:   "attention --seq N --head-dim N --heads N",
		Short: "Measure attention, forward and backward, on one rank or round a ring",
		Long: "attention runs the op's own kernels on random normal inputs. A ring of 1 is the kernel alone; a\n" +
			"larger one has so many ranks in this process, with all that is copied and sent. Give several sizes\n" +
			"to have them compared in the same rounds.\n" +
			"\n" +
			"With windows and documents, operations are those of the visible pairs, so that shares of the peak are\n" +
			"useful work. --against causal runs plain causal attention right after each pass: the ratio is the\n" +
			"processor time over what the visible pairs would take at its rate.",
		Example: "  train bench attention --seq 16384 --head-dim 64 --heads 4 --causal --documents 16 --ring 4 --against causal\n" +
			"  train bench attention --seq 16384 --head-dim 64 --heads 4 --causal --window-left 1023 --ring 4 --against causal\n" +
			"  train bench attention --seq 4096 --head-dim 64 --heads 8 --causal --softcap 30 --alibi --sinks --dropout 0.1\n" +
			"  train bench attention --seq 16384 --head-dim 64 --heads 4 --causal --ring 4 --travel q --against kv",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := f.options()
			if err != nil {
				return err
			}
			defaultKVHeads(&a)
			a.DType, a.Layout, a.Device = f.dtype, shard.Layout(layout), ring.Device(f.device)
			if tracePath != "" {
				a.Trace = &trace.Recorder{}
			}
			if err := masks.set(cmd, &a); err != nil {
				return err
			}
			if err := a.Validate(); err != nil {
				return err
			}
			report, err := a.Measure(cmd.Context(), o)
			if err != nil {
				return failed{err}
			}
			if err := writeTrace(out, tracePath, a.Trace); err != nil {
				return failed{err}
			}
			if out.json {
				return out.document(report)
			}
			return printAttention(out, report, o)
		},
	}
	addAttentionShape(cmd, &a)
	cmd.Flags().BoolVar(&a.Causal, "causal", false, "a position sees itself and those before it")
	cmd.Flags().IntSliceVar(&a.Rings, "ring", []int{1}, "ring sizes, as in `1,8`")
	cmd.Flags().StringVar(&layout, "layout", string(shard.Zigzag), "contiguous, `zigzag`, striped or balanced: who holds which positions")
	masks.add(cmd, &a)
	f.addDType(cmd, attentionTypes)
	f.add(cmd, "where to run: `cpu`, cuda, or sim, whose times mean nothing")
	cmd.Flags().StringVar(&tracePath, "trace", "", "write what devices did in the last round to `FILE`, for chrome://tracing or Perfetto")
	return cmd
}

// writeTrace writes what devices did to a file, if one was named.
func writeTrace(out *output, path string, r *trace.Recorder) (err error) {
	if path == "" {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out.notef("%s has %s; compute hides %.0f%% of the time of copies", path, count(len(r.Spans()), "operation"), 100*r.Hidden())
	return r.Write(f)
}

// printDevice prints what devices took.
func printDevice(out *output, report bench.AttentionReport, o bench.Options) error {
	var rows [][]string
	for _, r := range report.Results {
		over := ""
		if r.BusyOverOne > 0 {
			over = fmt.Sprintf("%.3f", r.BusyOverOne)
		}
		rows = append(rows, []string{r.Pass, ringText(r), millis(r.WallMS), fmt.Sprintf("%.3f", r.GFlops/1e3), millis(r.BusyMS), over})
	}
	if err := out.table([]string{"pass", "ring", "ms", "Tflop/s", "busy ms", "busy ÷ one's"}, rows); err != nil {
		return err
	}
	text := "times are the devices' own, from the first to the last operation; medians of " + count(o.Rounds, "round")
	if report.Results[0].Device == string(ring.Sim) {
		text = "the simulator counts instructions: its times say nothing about a GPU"
	}
	return out.paragraph(text, "")
}

// attentionTypes describes the flag of attention's dtype.
const attentionTypes = "`float32`, float64, or for products and for keys and values bfloat16 or, on GPUs, float16"

// addAttentionShape adds the flags of one sequence's attention.
func addAttentionShape(cmd *cobra.Command, a *bench.Attention) {
	cmd.Flags().IntVar(&a.Seq, "seq", 0, "positions of the sequence")
	cmd.Flags().IntVar(&a.HeadDim, "head-dim", 0, "width of a head")
	cmd.Flags().IntVar(&a.Heads, "heads", 0, "query heads")
	cmd.Flags().IntVar(&a.KVHeads, "kv-heads", 0, "KV heads (default: as many as query heads)")
	required(cmd, "seq", "head-dim", "heads")
}

// defaultKVHeads gives each query head a KV head of its own where nothing is said.
func defaultKVHeads(a *bench.Attention) {
	if a.KVHeads == 0 {
		a.KVHeads = a.Heads
	}
}

func printAttention(out *output, report bench.AttentionReport, o bench.Options) error {
	r := report.Results[0]
	causal := "full"
	if r.Causal {
		causal = "causal"
	}
	err := out.printf("%s attention over %s positions, %d/%d heads of %d, %s, %s (%s)\n",
		causal, thousands(int64(r.Seq)), r.Heads, r.KVHeads, r.HeadDim, r.DType, r.Device, r.ISA)
	if err != nil {
		return err
	}
	last := report.Results[len(report.Results)-1] // what concerns rings is in the result of one
	if err := out.printf("%s", optionsText(last)); err != nil {
		return err
	}
	if r.Device != string(ring.CPU) {
		return printDevice(out, report, o)
	}
	rows, roofs := make([][]string, len(report.Results)), make([][]string, len(report.Results))
	for i, r := range report.Results {
		rows[i] = append([]string{r.Pass, ringText(r)}, figureCells(r.Figures)...)
		roofs[i] = append([]string{r.Pass, ringText(r)}, append(rooflineCells(r.Figures), fmt.Sprintf("%.3f", r.BusyOverOne))...)
		if r.BusyOverOne == 0 {
			roofs[i][len(roofs[i])-1] = ""
		}
	}
	if err := out.table(append([]string{"pass", "ring"}, figureHeader...), rows); err != nil {
		return err
	}
	if err := out.table(append([]string{"pass", "ring"}, append(rooflineHeader, "busy ÷ one's")...), roofs); err != nil {
		return err
	}
	if err := printAgainst(out, report.Results); err != nil {
		return err
	}
	return printCeilings(out, report.Ceilings, o)
}
