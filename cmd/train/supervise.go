package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/trainer"
	"github.com/ringgrad/ringgrad/trainer/supervise"
)

func newSupervise(out *output, signals *signals) *cobra.Command {
	var c supervise.Config
	var hostfile string
	cmd := &cobra.Command{
		Use:   "supervise [flags] -- COMMAND...",
		Short: "Run a training over hosts, and restart it from its last checkpoint when it fails",
		Long: "supervise runs COMMAND, which launches a training (mpirun, srun, a script), and starts it again when it ends\n" +
			"with another exit status than 0 (done), 2 (usage, config or input files are wrong) or 130 (interrupted), or\n" +
			"by a signal. COMMAND must go on from the newest checkpoint: --set resume_from_checkpoint=auto.\n" +
			"\n" +
			"With --hostfile, whose lines are `NAME [slots=N]`, all hosts are probed before each start. In COMMAND\n" +
			"{hostfile} becomes a file of those that answer, and {hosts} their number, so that a restart may have\n" +
			"another ring. It gives up after --max-restarts in a row without a newer checkpoint.\n" +
			"\n" +
			"SIGINT and SIGTERM are passed on once, as --signal to COMMAND alone (a script ends with `exec mpirun ...`),\n" +
			"so that the step is finished and saved; a second one kills all of COMMAND's processes. None is left when\n" +
			"supervise ends or restarts.",
		Example: "  train supervise -- train --config configs/long.yaml --set resume_from_checkpoint=auto\n" +
			"  train supervise --hostfile hosts --hosts 4 -- mpirun --hostfile {hostfile} -n {hosts} --bind-to none \\\n" +
			"      train --config run.yaml --set resume_from_checkpoint=auto --set context_parallel_size={hosts}",
		Args: behindDashes,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.Command = args
			if err := hostFlags(cmd, &c, hostfile); err != nil {
				return err
			}
			if err := findRun(out, &c); err != nil {
				return err
			}
			return runSupervise(cmd.Context(), out, signals, c)
		},
	}
	f := cmd.Flags()
	f.SetInterspersed(false)
	f.StringVar(&hostfile, "hostfile", "", "hosts that may be used, the preferred ones first: a `FILE` of lines NAME [slots=N]")
	f.IntVar(&c.MaxHosts, "hosts", 0, "use at most so many of those that answer; the others are spares (default all)")
	f.IntVar(&c.MinHosts, "min-hosts", 1, "start on no fewer")
	f.StringVar(&c.Probe, "probe", supervise.DefaultProbe, "`COMMAND`, split at spaces, that ends with 0 if {host} answers")
	f.DurationVar(&c.ProbeTimeout, "probe-timeout", supervise.DefaultProbeTimeout, "how long a host may take to answer")
	f.DurationVar(&c.Wait, "wait", 5*time.Minute, "how long to wait for --min-hosts to answer")
	f.IntVar(&c.MaxRestarts, "max-restarts", 5, "end after so many restarts in a row without a newer checkpoint")
	f.StringVar(&c.OutputDir, "output-dir", "", "the run's `DIR` (default: that of the --config and --set in COMMAND)")
	f.DurationVar(&c.Stall, "stall", 0, "restart when metrics.jsonl has no new line for so long (default never)")
	f.StringVar(&c.Signal, "signal", supervise.Signals[0], "what asks COMMAND to save and end: `NAME` is USR1, which mpirun and srun pass on, USR2, TERM or INT")
	f.DurationVar(&c.KillAfter, "kill-after", supervise.DefaultKillAfter, "kill what has not ended so long after it was asked to")
	return cmd
}

// behindDashes wants the command behind --, so that no flag of it is taken for one of ours.
func behindDashes(cmd *cobra.Command, args []string) error {
	if len(args) == 0 || cmd.ArgsLenAtDash() != 0 {
		return errors.New("supervise needs a command behind --, as in: train supervise -- mpirun -n 4 train --config FILE; see train supervise --help")
	}
	return nil
}

// hostFlags reads the hosts, and refuses flags without effect.
func hostFlags(cmd *cobra.Command, c *supervise.Config, hostfile string) (err error) {
	for _, name := range []string{"probe-timeout", "kill-after"} {
		if d, _ := cmd.Flags().GetDuration(name); d <= 0 {
			return fmt.Errorf("supervise: --%s %v: give a positive time, such as 5s", name, d)
		}
	}
	if cmd.Flags().Changed("hostfile") {
		c.Hosts, err = supervise.ReadHosts(hostfile)
		return err
	}
	for _, name := range []string{"hosts", "min-hosts", "probe", "probe-timeout", "wait"} {
		if cmd.Flags().Changed(name) {
			return fmt.Errorf("supervise: --%s is about the hosts of a hostfile; give --hostfile too", name)
		}
	}
	for _, arg := range c.Command {
		if strings.Contains(arg, supervise.HostfilePlace) || strings.Contains(arg, supervise.HostsPlace) {
			return fmt.Errorf("supervise: %q stands for hosts of a hostfile; give --hostfile, or write out what it stands for", arg)
		}
	}
	return nil
}

// findRun takes the output folder from the command where it is not given, and looks whether a restart would go on.
func findRun(out *output, c *supervise.Config) error {
	hosts := len(c.Hosts)
	if c.MaxHosts > 0 {
		hosts = min(hosts, c.MaxHosts)
	}
	run, err := supervise.Read(c.Command, hosts)
	switch {
	case err != nil:
		return err
	case c.OutputDir == "" && run.OutputDir == "":
		return errors.New("supervise: the command has no --config that tells the run's output folder; give --output-dir DIR")
	case c.OutputDir == "":
		c.OutputDir = run.OutputDir
	}
	if run.Found && run.SaveSteps == 0 {
		out.notef("supervise: save_steps is 0, so there is no checkpoint to restart from: each start begins at the beginning")
	}
	return nil
}

func runSupervise(ctx context.Context, out *output, signals *signals, c supervise.Config) error {
	stderr := &oneByOne{to: out.stderr}
	c.Stdout, c.Stderr = out.stdout.Writer, stderr
	if out.json {
		c.Stdout = stderr
	}
	c.Note = func(line string) { _, _ = fmt.Fprintln(stderr, line) }
	s, err := supervise.New(c)
	if err != nil {
		return err
	}
	signals.handleBoth(s.Interrupt)
	report, err := s.Run(ctx)
	if out.json {
		if err := out.document(report); err != nil {
			return err
		}
	}
	switch {
	case err == nil, errors.Is(err, supervise.ErrRefused):
		return err
	case errors.Is(err, supervise.ErrInterrupted):
		return trainer.ErrInterrupted
	}
	return failed{err}
}

// oneByOne is written to by the command and by us.
type oneByOne struct {
	mu sync.Mutex
	to io.Writer
}

func (w *oneByOne) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}
