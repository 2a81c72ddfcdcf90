package main

import (
	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/bench"
)

func newBenchMemory(out *output) *cobra.Command {
	var a bench.Attention
	var ranks int
	cmd := &cobra.Command{
		Use:   "memory --seq N --head-dim N --heads N",
		Short: "Measure the memory that a rank of a ring takes for attention",
		Long: "memory runs causal attention forward and backward once, on a ring of so many ranks in this process, and reports by how\n" +
			"much the peak memory of the process grew, over the number of ranks: inputs, results and gradients, messages and the\n" +
			"kernel's scratch. A process has one peak, so that each ring size takes a run of its own.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if a.KVHeads == 0 {
				a.KVHeads = a.Heads
			}
			a.Causal, a.Layout, a.Rings = true, shard.Zigzag, []int{ranks}
			if err := a.Validate(); err != nil {
				return err
			}
			report, err := a.MeasureMemory(cmd.Context())
			if err != nil {
				return failed{err}
			}
			if out.json {
				return out.document(report)
			}
			return out.printf("%s positions, %d/%d heads of %d, %s: %s for each of %s\n", thousands(int64(a.Seq)), a.Heads, a.KVHeads, a.HeadDim,
				a.DType, bytesText(report.RankBytes), count(ranks, "rank"))
		},
	}
	cmd.Flags().IntVar(&a.Seq, "seq", 0, "positions of the sequence")
	cmd.Flags().IntVar(&a.HeadDim, "head-dim", 0, "width of a head")
	cmd.Flags().IntVar(&a.Heads, "heads", 0, "query heads")
	cmd.Flags().IntVar(&a.KVHeads, "kv-heads", 0, "KV heads (default: as many as query heads)")
	cmd.Flags().IntVar(&ranks, "ring", 1, "ranks of the ring")
	cmd.Flags().StringVar(&a.DType, "dtype", "float32", "`float32`, float64, or bfloat16 for products and for keys and values")
	required(cmd, "seq", "head-dim", "heads")
	return cmd
}
