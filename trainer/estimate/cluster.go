package estimate

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Cluster is the hosts of a run, one process each, and what joins them. Consecutive ranks are on a host: rank i of R·N is on host i/R.
type Cluster struct {
	Hosts   int     `json:"hosts"`                           // N
	Link    float64 `json:"link_bytes_per_second"`           // that a host sends, while it receives as many
	Latency float64 `json:"latency_seconds"`                 // of a message, from its last byte to its arrival
	Copy    float64 `json:"copy_bytes_per_second,omitempty"` // that a host could send, while it receives as many, if that were all its processor does; 0: the network needs none
	Message float64 `json:"message_seconds"`                 // that a host is busy with a message, besides its bytes
	Speed   Speed   `json:"-"`                               // of each host, with all its cores
}

// Validate reports all that makes no cluster.
func (c Cluster) Validate() error {
	var errs []error
	if c.Hosts < 1 {
		errs = append(errs, fmt.Errorf("estimate: %d hosts: give at least 1", c.Hosts))
	}
	if !(c.Link > 0) || math.IsInf(c.Link, 0) {
		errs = append(errs, fmt.Errorf("estimate: a link of %v bytes a second: give what a host sends, such as 25GB/s", c.Link))
	}
	for _, x := range []struct {
		name  string
		value float64
	}{{"latency", c.Latency}, {"time of a message", c.Message}, {"copy rate", c.Copy}} {
		if !(x.value >= 0) || math.IsInf(x.value, 0) {
			errs = append(errs, fmt.Errorf("estimate: a %s of %v: give a finite number, at least 0", x.name, x.value))
		}
	}
	if c.Speed.Products <= 0 || c.Speed.Attention <= 0 {
		errs = append(errs, fmt.Errorf("estimate: a speed of %v and %v Gflop/s a host: give what its cores do, above 0", c.Speed.Products, c.Speed.Attention))
	}
	return errors.Join(errs...)
}

// perHost is how many of a run's ranks a host has.
func (c Cluster) perHost(r Run) (int, error) {
	if r.ranks()%c.Hosts != 0 {
		return 0, fmt.Errorf("estimate: %d ranks (data_parallel_size %d x context_parallel_size %d) cannot be dealt to %d hosts evenly; take %s hosts, or sizes whose product is a multiple of %d",
			r.ranks(), r.Data, r.Ring, c.Hosts, divisors(r.ranks()), c.Hosts)
	}
	perHost := r.ranks() / c.Hosts
	if r.ZeroStage > 0 && perHost%r.Ring != 0 && r.Ring%perHost != 0 {
		return 0, fmt.Errorf("estimate: zero_stage is %d, but rings of %d ranks (context_parallel_size) and hosts of %d do not fit into each other; take another number of hosts, or zero_stage 0",
			r.ZeroStage, r.Ring, perHost)
	}
	return perHost, nil
}

// divisors lists those of n: 1, 2 or 4.
func divisors(n int) string {
	var words []string
	for _, d := range divisorsOf(n) {
		words = append(words, strconv.Itoa(d))
	}
	last := len(words) - 1
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

func divisorsOf(n int) (all []int) {
	for d := 1; d <= n; d++ {
		if n%d == 0 {
			all = append(all, d)
		}
	}
	return all
}

// byteSeconds is how long a byte takes where a host does nothing but send and receive: on its link, or in its processor.
func (c Cluster) byteSeconds() float64 {
	seconds := 1 / c.Link
	if c.Copy > 0 {
		seconds = max(seconds, 1/c.Copy)
	}
	return seconds
}

// free is the same hosts joined by a network that takes no time.
func (c Cluster) free() Cluster {
	c.Link, c.Latency, c.Copy, c.Message = math.Inf(1), 0, 0, 0
	return c
}
