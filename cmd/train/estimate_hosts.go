package main

import (
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/spf13/pflag"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/trainer/estimate"
)

// hostsFlags are those of an estimate for several hosts.
type hostsFlags struct {
	hosts      int
	link, copy string
	latency    time.Duration
	cores      float64
	flags      *pflag.FlagSet
}

func (h *hostsFlags) add(flags *pflag.FlagSet) {
	h.flags = flags
	flags.IntVar(&h.hosts, "hosts", 0, "hosts of the run, one process each, with as many ranks each; needs --link")
	flags.StringVar(&h.link, "link", "", "what a host sends a second, while it receives as much: 25GB/s, 200Gbps, 1Gbit/s")
	flags.DurationVar(&h.latency, "latency", 20*time.Microsecond, "of the way from host to host, one way")
	flags.StringVar(&h.copy, "copy", "", "what a core of a host moves a second; 0 for a network that needs none (default: that of MPI over TCP for links\nup to 10Gbit/s, and 0 for faster ones, which are taken to be RDMA)")
	flags.Float64Var(&h.cores, "cores", float64(runtime.NumCPU()), "cores of a host; where hosts share the cores of one machine, the part of each. Without --gflops a host is so many times\nas fast as one core of this machine")
}

// tcpLink is the fastest link that is taken to be used by TCP.
const tcpLink = 1.25e9

// cluster is what the flags describe, of hosts with the given speed.
func (h *hostsFlags) cluster(speed estimate.Speed) (c estimate.Cluster, err error) {
	c = estimate.Cluster{Hosts: h.hosts, Latency: h.latency.Seconds(), Message: estimate.MessageTime, Cores: h.cores, Speed: speed}
	if c.Link, err = estimate.ParseRate(h.link); err != nil {
		return c, fmt.Errorf("estimate: --link: %w", err)
	}
	switch {
	case h.copy == "0":
	case h.copy != "":
		if c.Copy, err = estimate.ParseRate(h.copy); err != nil {
			return c, fmt.Errorf("estimate: --copy: %w; or 0 for a network that needs no processor", err)
		}
	case c.Link <= tcpLink:
		c.Copy = estimate.TCPCopy(c.Link)
	}
	return c, c.Validate()
}

// share is the speed of a host, of that of this machine.
func (h *hostsFlags) share(s estimate.Speed) estimate.Speed {
	part := h.cores / float64(runtime.NumCPU())
	return estimate.Speed{Products: part * s.Products, Attention: part * s.Attention}
}

// check says what is missing or odd about the flags, before anything is measured.
func (h *hostsFlags) check() error {
	switch {
	case h.flags.Changed("hosts") && h.hosts < 1:
		return fmt.Errorf("estimate: --hosts %d: give at least 1", h.hosts)
	case h.hosts > 0 && h.link == "":
		return errors.New("estimate: --hosts needs --link: what a host sends a second, such as --link 25GB/s")
	case h.hosts == 0 && (h.link != "" || h.copy != "" || h.flags.Changed("latency") || h.flags.Changed("cores")):
		return errors.New("estimate: --link, --latency, --cores and --copy are of several hosts; give --hosts")
	case h.hosts > 0 && !(h.cores > 0):
		return fmt.Errorf("estimate: --cores %v: give how many a host has, such as 8, or 0.5 for four hosts on two cores", h.cores)
	case h.hosts > 0:
		_, err := h.cluster(estimate.Speed{Products: 1, Attention: 1})
		return err
	}
	return nil
}

// printForecast shows what a step takes on several hosts.
func printForecast(out *output, p prediction) error {
	f := *p.Forecast
	if err := out.table([]string{"over a host's link, each step", "bytes sent"}, linkRows(f)); err != nil {
		return err
	}
	r, best := p.Run, f.Best
	lines := []string{
		fmt.Sprintf("%s of %s, mesh %d x %d (data x context), link %s, latency %v; memory of a host %s",
			count(f.Hosts, "host"), count(f.RanksPerHost, "rank"), r.Data, r.Ring, estimate.RateText(f.Link),
			time.Duration(f.Latency*1e9), bytesText(f.HostMemory)),
		fmt.Sprintf("communication adds %s to a step; %s more are hidden behind arithmetic", secondsText(f.Exposed), secondsText(f.Hidden)),
	}
	setting := fmt.Sprintf("ring_attn_func %s, ring_travel %s, ulysses_size %d, ring_inner_size %d, data_parallel_size %d, context_parallel_size %d",
		best.Layout, best.Travel, best.Ulysses, best.Inner, best.Data, best.Ring)
	if best.Data != r.Data {
		setting += fmt.Sprintf(", gradient_accumulation_steps %d", best.Accumulation)
	}
	verdict := fmt.Sprintf("best of %d layouts: %s: %s a step", best.Tried, setting, secondsText(best.Seconds))
	if best.Seconds < f.Seconds {
		verdict += fmt.Sprintf(", %.1f %% less", 100*(1-best.Seconds/f.Seconds))
	} else {
		verdict += ", as configured"
	}
	for _, line := range append(lines, verdict) {
		if err := out.paragraph(line, "    "); err != nil {
			return err
		}
	}
	return nil
}

func linkRows(f estimate.Forecast) [][]string {
	var kinds []dist.Kind
	for _, row := range wireNames {
		kinds = append(kinds, row.kind, row.kind.Outer())
	}
	kinds = append(kinds, estimate.Parameters)
	var rows [][]string
	for _, kind := range kinds {
		if n := f.LinkBytes[kind]; n > 0 {
			rows = append(rows, []string{kindName(kind), bytesText(n)})
		}
	}
	return append(rows, []string{"all", bytesText(f.Bytes())})
}

// kindName is a row of the table.
func kindName(kind dist.Kind) string {
	if kind == estimate.Parameters {
		return "updated parameters (zero_stage 1)"
	}
	for _, row := range wireNames {
		switch kind {
		case row.kind:
			return row.name
		case row.kind.Outer():
			return row.name + ", between rings"
		}
	}
	return string(kind)
}

// secondsText writes a time with three figures.
func secondsText(s float64) string {
	switch {
	case s >= 0.1:
		return fmt.Sprintf("%.2f s", s)
	case s >= 1e-4:
		return fmt.Sprintf("%.1f ms", 1e3*s)
	}
	return fmt.Sprintf("%.0f µs", 1e6*s)
}
