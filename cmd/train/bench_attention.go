package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/bench"
)

func newBenchAttention(out *output) *cobra.Command {
	var f benchFlags
	var a bench.Attention
	var masks maskFlags
	var layout string
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
			a.DType, a.Layout = f.dtype, shard.Layout(layout)
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
	f.add(cmd)
	return cmd
}

// attentionTypes describes the flag of attention's dtype.
const attentionTypes = "`float32`, float64, or bfloat16 for products and for keys and values"

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
