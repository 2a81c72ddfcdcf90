package main

import (
	"context"
	"errors"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/ops/bench"
	"github.com/ringgrad/ringgrad/trainer"
	"github.com/ringgrad/ringgrad/trainer/config"
)

// trainingFlags are the flags of the main job.
type trainingFlags struct {
	config string
	set    []string
	resume string
	dryRun bool
}

func newTraining(out *output, signals *signals) *cobra.Command {
	var f trainingFlags
	cmd := &cobra.Command{
		Use:   "train --config FILE",
		Short: "Fine-tune long-context models with ring attention",
		Long: "train fine-tunes a Hugging Face model folder on long sequences: each sequence is split over a ring of ranks,\n" +
			"and attention is exact for every ring size. Without a subcommand it runs the training that --config describes.",
		Example: "  train --config configs/long.yaml\n" +
			"  train --config configs/long.yaml --set context_parallel_size=2 --dry-run\n" +
			"  train --config configs/long.yaml --resume latest",
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.config == "" {
				return errors.New("no --config FILE given; for example: train --config configs/long.yaml (train --help lists the subcommands)")
			}
			return runTraining(cmd.Context(), out, signals, f)
		},
	}
	cmd.Flags().StringVar(&f.config, "config", "", "the run's YAML `FILE`")
	addSet(cmd, &f.set)
	cmd.Flags().StringVar(&f.resume, "resume", "", "continue from a checkpoint: latest, or its `DIR`")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "print the resolved config, memory per rank and bytes on the wire; train nothing")
	return cmd
}

// runTraining is the main job. A signal while files are read ends it at once; later the step in flight is finished and saved.
func runTraining(ctx context.Context, out *output, signals *signals, f trainingFlags) error {
	cfg, err := config.Load(f.config, f.set)
	if err != nil {
		return err
	}
	processes, err := out.job.joinOn(ctx, cfg.Device)
	if err != nil {
		return err
	}
	view := newConsole(out)
	defer view.close()
	t, err := trainer.New(cfg, trainer.Options{Resume: f.resume, Observer: view.observer(), Processes: processes})
	if err != nil || ctx.Err() != nil {
		return errors.Join(err, ctx.Err())
	}
	if f.dryRun {
		view.showNotes()
		return printDryRun(out, cfg, t.Plan())
	}
	limitGarbage(t.Plan().Memory)
	limitMemory(cfg.MemoryLimit)
	signals.handle(func() {
		t.Stop()
		view.line("interrupted: finishing the step and saving; a second signal ends at once")
	})
	unfollow := view.follow(t.Progress)
	result, err := t.Run(ctx)
	unfollow()
	view.close()
	if err != nil {
		return computed(err)
	}
	return printResult(out, runResult{result, float64(t.Plan().Processes) * bench.FMAPeak(runtime.GOMAXPROCS(0))})
}
