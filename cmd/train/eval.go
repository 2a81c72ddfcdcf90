package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/trainer"
	"github.com/ringgrad/ringgrad/trainer/eval"
)

func newEval(out *output) *cobra.Command {
	var o trainer.EvalOptions
	cmd := &cobra.Command{
		Use:   "eval --model DIR --data FILE",
		Short: "Measure loss and perplexity, overall and by position",
		Long: "eval takes the documents of a file (or glob) one by one, or with sample_packing=true and a sequence_len several in a\n" +
			"pass. Config keys apply with --set: context_parallel_size, ring_attn_func, ring_travel, sequence_len,\n" +
			"excess_length_strategy, rope_theta, rope_scaling and others.",
		Example: "  train eval --model runs/long --data books.jsonl --set context_parallel_size=4",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.BinSize < 0 {
				return fmt.Errorf("eval: --bin-size %d is negative; leave it out for about eight bins", o.BinSize)
			}
			var err error
			if o.Processes, err = out.job.join(cmd.Context()); err != nil {
				return err
			}
			bar := progress{out: out}
			defer bar.close()
			o.Progress = func(done, total int) { bar.show("evaluating", done, total) }
			result, err := trainer.Evaluate(cmd.Context(), o)
			if err != nil {
				return computed(err)
			}
			bar.close()
			return printEval(out, result)
		},
	}
	cmd.Flags().StringVar(&o.Model, "model", "", "Hugging Face model folder `DIR`")
	cmd.Flags().StringVar(&o.Data, "data", "", "JSONL `FILE` with a text field, or plain text; globs, .gz and .zst too")
	cmd.Flags().StringVar(&o.Field, "field", "text", "the JSONL field `NAME` that holds the text")
	cmd.Flags().IntVar(&o.BinSize, "bin-size", 0, "tokens in a position bin (default: about eight bins)")
	addSet(cmd, &o.Set)
	required(cmd, "model", "data")
	return cmd
}

func printEval(out *output, r eval.Result) error {
	if out.json {
		return out.document(r)
	}
	rows := make([][]string, 0, len(r.ByPosition)+1)
	for _, b := range r.ByPosition {
		rows = append(rows, []string{positions(b.From, b.To), fmt.Sprintf("%.4f", b.Loss), thousands(int64(b.Tokens))})
	}
	rows = append(rows, []string{"all", fmt.Sprintf("%.4f", r.Loss), thousands(int64(r.Tokens))})
	if err := out.table([]string{"position", "loss (nats)", "tokens"}, rows); err != nil {
		return err
	}
	return out.printf("perplexity %.4f over %s\n", r.Perplexity, count(len(r.Documents), "document"))
}
