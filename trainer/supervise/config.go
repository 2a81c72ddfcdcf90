package supervise

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// The texts that stand for the hosts of a start in a command, and for one host in a probe.
const (
	HostfilePlace = "{hostfile}" // path of a file with the lines of the hosts
	HostsPlace    = "{hosts}"    // their number
	hostPlace     = "{host}"
)

// DefaultProbe asks a host over ssh, as mpirun starts its daemons.
const DefaultProbe = "ssh -o BatchMode=yes -o ConnectTimeout=5 {host} true"

// Signals are those that may ask a command to save and end. USR1 is what launchers pass on to their ranks: mpirun and mpiexec of Open MPI
// and MPICH, and srun. After a TERM or INT Open MPI's mpirun kills them within seconds.
var Signals = []string{"USR1", "USR2", "TERM", "INT"}

// Defaults of Config.
const (
	DefaultProbeTimeout = 5 * time.Second
	DefaultKillAfter    = 30 * time.Second
)

// Config of a Supervisor. Only Command and OutputDir must be given.
type Config struct {
	Command   []string // program and arguments, not read by a shell
	OutputDir string   // folder of the run, where its checkpoints appear

	Hosts        []Host        // that may be used, the preferred ones first; without any nothing is probed
	MaxHosts     int           // use at most so many, the others are spares; 0: all that answer
	MinHosts     int           // start on no fewer; 0: 1
	Probe        string        // command, split at spaces, that ends with 0 if {host} answers; "": DefaultProbe
	ProbeTimeout time.Duration // 0: DefaultProbeTimeout
	Wait         time.Duration // for MinHosts to answer; 0: they are probed once

	MaxRestarts int           // end after so many in a row without a newer checkpoint; 0 never restarts
	Stall       time.Duration // end a start that adds nothing to metrics.jsonl for so long, from its beginning on; 0: never
	Signal      string        // that asks the command to save and end: one of Signals; "": the first
	KillAfter   time.Duration // kill what has not ended so long after it was asked to; 0: DefaultKillAfter

	Stdout, Stderr io.Writer         // of the command; nil: nowhere
	Note           func(line string) // is told what happens, a line each; nil: nobody
}

// EnsureDefaults fills in what is zero.
func (c *Config) EnsureDefaults() {
	c.MinHosts = cmp.Or(c.MinHosts, 1)
	c.Probe = cmp.Or(c.Probe, DefaultProbe)
	c.ProbeTimeout = cmp.Or(c.ProbeTimeout, DefaultProbeTimeout)
	c.Signal = cmp.Or(c.Signal, Signals[0])
	c.KillAfter = cmp.Or(c.KillAfter, DefaultKillAfter)
	if c.Note == nil {
		c.Note = func(string) {}
	}
}

// Validate reports everything that cannot be honoured, joined into one error. Zeros are taken for their defaults.
func (c Config) Validate() error {
	c.EnsureDefaults()
	var errs []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("supervise: "+format, args...))
		}
	}
	refuse(len(c.Command) == 0, "there is no command; give one, such as mpirun -n 4 train --config FILE")
	refuse(c.OutputDir == "", "the run's output folder is not known; give it")
	refuse(c.MaxHosts < 0, "at most %d hosts: give 1 or more, or 0 for all", c.MaxHosts)
	refuse(c.MinHosts < 0, "at least %d hosts: give 1 or more", c.MinHosts)
	refuse(c.MaxHosts > 0 && c.MinHosts > c.MaxHosts, "at least %d hosts and at most %d: lower the one or raise the other", c.MinHosts, c.MaxHosts)
	refuse(c.MaxRestarts < 0, "%d restarts: give 0 or more", c.MaxRestarts)
	refuse(!slices.Contains(Signals, c.Signal), "signal %q: give one of %s", c.Signal, strings.Join(Signals, ", "))
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"probe timeout", c.ProbeTimeout}, {"wait", c.Wait}, {"stall", c.Stall}, {"kill after", c.KillAfter}} {
		refuse(d.value < 0, "%s %v is negative", d.name, d.value)
	}
	if len(c.Hosts) == 0 {
		refuse(c.placed(), "the command has %s or %s, but no hosts are given; give a hostfile, or write out what they stand for", HostfilePlace, HostsPlace)
		return errors.Join(errs...)
	}
	refuse(!c.placed(), "there are hosts, but the command has neither %s nor %s, so those that answer would not be used; write for example mpirun --hostfile %[1]s", HostfilePlace, HostsPlace)
	refuse(c.MinHosts > len(c.Hosts), "at least %d hosts, of %d: lower the one or add hosts", c.MinHosts, len(c.Hosts))
	refuse(!strings.Contains(c.Probe, hostPlace), "the probe %q does not say %s, so it would ask nobody", c.Probe, hostPlace)
	return errors.Join(errs...)
}

// placed reports whether the command has a place for hosts.
func (c Config) placed() bool {
	for _, arg := range c.Command {
		if strings.Contains(arg, HostfilePlace) || strings.Contains(arg, HostsPlace) {
			return true
		}
	}
	return false
}
