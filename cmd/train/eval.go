package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/trainer"
)

func newEval(out *output) *cobra.Command {
	var o trainer.EvalOptions
	var set []string
	cmd := &cobra.Command{
		Use:   "eval --model DIR --data FILE",
		Short: "Measure loss and perplexity, overall and by position",
		Long: "eval takes the documents of a file (or glob) one by one. Config keys apply with --set: context_parallel_size,\n" +
			"sequence_len, excess_length_strategy, ring_attn_func, rope_theta, rope_scaling.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Set = set
			o.Progress = func(done, total int) {
				if out.terminal() || done == total {
					out.notef("evaluated %d of %d documents", done, total)
				}
			}
			result, err := trainer.Evaluate(cmd.Context(), o)
			if err != nil {
				return runError(err)
			}
			if out.json {
				return out.document(result)
			}
			rows := make([][]string, 0, len(result.ByPosition)+1)
			for _, b := range result.ByPosition {
				rows = append(rows, []string{fmt.Sprintf("%s – %s", thousands(int64(b.From)), thousands(int64(b.To))), fmt.Sprintf("%.4f", b.Loss), thousands(int64(b.Tokens))})
			}
			rows = append(rows, []string{"all", fmt.Sprintf("%.4f", result.Loss), thousands(int64(result.Tokens))})
			if err := out.table([]string{"position", "loss (nats)", "tokens"}, rows); err != nil {
				return err
			}
			_, err = fmt.Fprintf(out.stdout, "perplexity %.4f over %d documents\n", result.Perplexity, len(result.Documents))
			return err
		},
	}
	cmd.Flags().StringVar(&o.Model, "model", "", "Hugging Face model folder")
	cmd.Flags().StringVar(&o.Data, "data", "", "JSONL with a text field, or plain text; globs and .gz, .zst work")
	cmd.Flags().StringVar(&o.Field, "field", "text", "the JSONL field that holds the text")
	cmd.Flags().IntVar(&o.BinSize, "bin-size", 0, "tokens in a position bin (default: about eight bins)")
	addSet(cmd, &set)
	required(cmd, "model", "data")
	return cmd
}

// runError sorts errors of commands that read first and compute then.
func runError(err error) error { return trainingError(err) }
