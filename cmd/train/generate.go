package main

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/trainer"
)

func newGenerate(out *output) *cobra.Command {
	var o trainer.GenerateOptions
	cmd := &cobra.Command{
		Use:     "generate --model DIR --prompt TEXT --max-new-tokens N",
		Short:   "Continue a prompt, greedily or by sampling",
		Example: "  train generate --model runs/long --prompt \"func main() {\" --max-new-tokens 200 --temperature 0.8",
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if o.Processes, err = out.job.join(cmd.Context()); err != nil {
				return err
			}
			stream := stream{out: out}
			if !out.json {
				o.Stream = stream.grown
			}
			result, err := trainer.Generate(cmd.Context(), o)
			switch {
			case err != nil:
				stream.end()
				return computed(err)
			case out.json:
				return out.document(result)
			}
			stream.write(result.Text)
			stream.end()
			return stream.err
		},
	}
	cmd.Flags().StringVar(&o.Model, "model", "", "Hugging Face model folder `DIR`")
	cmd.Flags().StringVar(&o.Prompt, "prompt", "", "`TEXT` to continue")
	cmd.Flags().IntVar(&o.MaxNewTokens, "max-new-tokens", 100, "how many tokens to add at most")
	cmd.Flags().Float64Var(&o.Temperature, "temperature", 0, "0 is greedy")
	cmd.Flags().IntVar(&o.TopK, "top-k", 0, "sample among the k likeliest tokens (0: all)")
	cmd.Flags().Float64Var(&o.TopP, "top-p", 0, "sample among the likeliest tokens that reach this probability (0: all)")
	cmd.Flags().Int64Var(&o.Seed, "seed", 42, "seed of the sampling")
	addSet(cmd, &o.Set)
	required(cmd, "model")
	return cmd
}

// stream prints a text while it grows.
type stream struct {
	out     *output
	printed int // bytes
	err     error
}

// grown holds back what may be the first bytes of a character.
func (s *stream) grown(text string) { s.write(strings.TrimRight(text, string(utf8.RuneError))) }

func (s *stream) write(text string) {
	if s.err == nil && len(text) > s.printed {
		_, s.err = fmt.Fprint(s.out.stdout, text[s.printed:])
		s.printed = len(text)
	}
}

// end leaves the cursor on a line of its own.
func (s *stream) end() {
	if s.err == nil && s.printed > 0 {
		s.err = s.out.printf("\n")
	}
}
