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
			defaultKVHeads(&a)
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
	addAttentionShape(cmd, &a)
	cmd.Flags().IntVar(&ranks, "ring", 1, "ranks of the ring")
	cmd.Flags().StringVar(&a.DType, "dtype", "float32", attentionTypes)
	return cmd
}
