package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/trainer"
)

func newGenerate(out *output) *cobra.Command {
	var o trainer.GenerateOptions
	cmd := &cobra.Command{
		Use:   "generate --model DIR --prompt TEXT --max-new-tokens N",
		Short: "Continue a prompt, greedily or by sampling",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var printed string
			if !out.json {
				o.Stream = func(text string) {
					if len(text) > len(printed) {
						_, _ = fmt.Fprint(out.stdout, text[len(printed):])
						printed = text
					}
				}
			}
			result, err := trainer.Generate(cmd.Context(), o)
			if err != nil {
				return runError(err)
			}
			if out.json {
				return out.document(result)
			}
			o.Stream(result.Text)
			_, err = fmt.Fprintln(out.stdout)
			return err
		},
	}
	cmd.Flags().StringVar(&o.Model, "model", "", "Hugging Face model folder")
	cmd.Flags().StringVar(&o.Prompt, "prompt", "", "text to continue")
	cmd.Flags().IntVar(&o.MaxNewTokens, "max-new-tokens", 100, "how many tokens to add at most")
	cmd.Flags().Float64Var(&o.Temperature, "temperature", 0, "0 is greedy")
	cmd.Flags().IntVar(&o.TopK, "top-k", 0, "sample among the k likeliest tokens (0: all)")
	cmd.Flags().Float64Var(&o.TopP, "top-p", 0, "sample among the likeliest tokens that reach this probability (0: all)")
	cmd.Flags().Int64Var(&o.Seed, "seed", 42, "seed of the sampling")
	addSet(cmd, &o.Set)
	required(cmd, "model")
	return cmd
}
