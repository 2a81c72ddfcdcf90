package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/trainer"
	"github.com/ringgrad/ringgrad/trainer/config"
)

func newInit(out *output, signals *signals) *cobra.Command {
	var path string
	var set []string
	cmd := &cobra.Command{
		Use:   "init --config FILE",
		Short: "Write a new model with random weights as a Hugging Face folder",
		Long: "init writes the model that a training of the config's model would begin with to output_dir, which must not exist:\n" +
			"config.json, weights drawn from seed in save_dtype, and the tokenizer of tokenizer_config. Other keys are not read.",
		Example: "  train init --config configs/qwen2.5-0.5b-random.yaml\n" +
			"  train init --config configs/base.yaml --set output_dir=runs/untrained --set seed=7",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := config.LoadNewModel(path, set)
			if err != nil {
				return err
			}
			ctx, cancel := context.WithCancelCause(cmd.Context())
			defer cancel(nil)
			signals.handle(func() {
				cancel(trainer.ErrInterrupted)
				out.notef("interrupted: removing what was written; a second signal ends at once")
			})
			created, err := trainer.CreateModel(ctx, cfg)
			if err != nil {
				return computed(err)
			}
			if out.json {
				return out.document(created)
			}
			return out.table([]string{"new model", created.Model}, [][]string{
				{"model_type", created.ModelType},
				{"parameters", thousands(created.Parameters)},
				{"dtype", created.DType},
				{"seed", thousands(created.Seed)},
				{"size", bytesText(created.Bytes)},
			})
		},
	}
	cmd.Flags().StringVar(&path, "config", "", "YAML `FILE` with the keys model and tokenizer_config")
	addSet(cmd, &set)
	required(cmd, "config")
	return cmd
}
