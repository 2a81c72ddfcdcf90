package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

func newRoot(out *output, signals *signals) *cobra.Command {
	cobra.EnableCommandSorting = false // ours go from the common to the rare
	root := newTraining(out, signals)
	root.SetOut(out.stdout)
	root.SetErr(out.stderr)
	root.SilenceErrors, root.SilenceUsage = true, true
	root.CompletionOptions.DisableDefaultCmd = true
	root.PersistentFlags().BoolVar(&out.json, "json", false, "print exactly one JSON document on stdout")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())
	})
	root.AddCommand(newGradcheck(out), newBench(out), newEval(out), newGenerate(out), newEstimate(out), newInit(out, signals), newTokenize(out), newDevices(out), newSchema(out))
	root.SetHelpCommand(newHelp())
	root.Args = noArguments
	for _, cmd := range root.Commands() {
		cmd.Args = noArguments
	}
	root.AddCommand(newSupervise(out, signals)) // the only one with arguments
	showHelp(root, out)
	return root
}

// execute runs a command line. A panic is a mistake of this program: one line says so, not a page.
func execute(ctx context.Context, root *cobra.Command, args []string) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = failed{fmt.Errorf("panic: %v\n%s", cause, debug.Stack())}
		}
	}()
	root.SetArgs(args)
	return root.ExecuteContext(ctx)
}

// noArguments refuses what is neither a flag nor a subcommand, and names the subcommand that was probably meant.
func noArguments(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasParent():
		return fmt.Errorf("unexpected argument %q; see %s --help", args[0], cmd.CommandPath())
	}
	cmd.SuggestionsMinimumDistance = 2
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		return fmt.Errorf("unknown subcommand %q; did you mean %s?", args[0], strings.Join(near, " or "))
	}
	return fmt.Errorf("unknown subcommand %q; train --help lists them", args[0])
}

// newHelp is `train help SUBCOMMAND`; an unknown one is a mistake in the command line like any other.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:   "help [SUBCOMMAND]",
		Short: "Show help about a subcommand",
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return noArguments(cmd.Root(), args)
			}
			return found.Help()
		},
	}
}

// showHelp prints help on stdout, with --json as a document.
func showHelp(root *cobra.Command, out *output) {
	show := root.HelpFunc()
	root.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		if !out.json {
			show(cmd, args)
			return
		}
		_ = out.document(map[string]any{"help": cmd.Long + "\n\n" + cmd.UsageString()})
	})
}

// required makes a command refuse to run without these flags.
func required(cmd *cobra.Command, names ...string) {
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		var missing []string
		for _, name := range names {
			if !cmd.Flags().Changed(name) {
				missing = append(missing, "--"+name)
			}
		}
		if len(missing) > 0 {
			return fmt.Errorf("%s needs %s; see %s --help", cmd.Name(), strings.Join(missing, " and "), cmd.CommandPath())
		}
		return nil
	}
}

// addSet adds --set, which every command takes that a config's keys apply to.
func addSet(cmd *cobra.Command, set *[]string) {
	cmd.Flags().StringArrayVar(set, "set", nil, "set a config key, as in `KEY=VALUE`; may be given again")
}
