package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/trainer"
	"github.com/ringgrad/ringgrad/trainer/config"
)

// trainFlags are the flags of the main job.
type trainFlags struct {
	config string
	set    []string
	resume string
	dryRun bool
}

func newRoot(out *output) *cobra.Command {
	var f trainFlags
	root := &cobra.Command{
		Use:           "train --config FILE",
		Short:         "Fine-tune long-context models with ring attention",
		Long:          "train fine-tunes a Hugging Face model folder on long sequences: each sequence is split over a ring of ranks,\nand attention is exact for every ring size. Without a subcommand it runs the training that --config describes.",
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if f.config == "" {
				return fmt.Errorf("no --config FILE given; for example: train --config configs/long.yaml (train --help lists the subcommands)")
			}
			return runTraining(cmd.Context(), out, f)
		},
	}
	root.PersistentFlags().BoolVar(&out.json, "json", false, "print exactly one JSON document on stdout")
	root.Flags().StringVar(&f.config, "config", "", "the run's YAML file")
	root.Flags().StringVar(&f.resume, "resume", "", "continue from a checkpoint: latest, or its folder")
	root.Flags().BoolVar(&f.dryRun, "dry-run", false, "print the resolved config, memory per rank and bytes on the wire; train nothing")
	addSet(root, &f.set)
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddCommand(newGradcheck(out), newEval(out), newGenerate(out), newEstimate(out), newTokenize(out), newDevices(out), newSchema(out))
	return root
}

// addSet adds --set key=value, which every command takes that a config's keys apply to.
func addSet(cmd *cobra.Command, set *[]string) {
	cmd.Flags().StringArrayVar(set, "set", nil, "set a config key: key=value (repeatable; overrides the file)")
}

// runTraining is the main job.
func runTraining(ctx context.Context, out *output, f trainFlags) error {
	cfg, err := config.Load(f.config, f.set)
	if err != nil {
		return err
	}
	view := newConsole(out)
	t, err := trainer.New(cfg, trainer.Options{Resume: f.resume, Observer: view.observer()})
	if err != nil {
		return err
	}
	if f.dryRun {
		return printDryRun(out, cfg, t.Plan())
	}
	defer stopOnSignal(t.Stop)()
	result, err := t.Run(ctx)
	view.close()
	if err != nil {
		return trainingError(err)
	}
	return printResult(out, result)
}

// stopOnSignal calls stop at the first SIGINT or SIGTERM and ends the process at the second. The returned function undoes it.
func stopOnSignal(stop func()) func() {
	signals := make(chan os.Signal, 2)
	done := make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		select {
		case <-signals:
			stop()
		case <-done:
			return
		}
		select {
		case <-signals:
			os.Exit(exitInterrupted)
		case <-done:
		}
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}
