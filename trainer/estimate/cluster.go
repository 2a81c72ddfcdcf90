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
	Latency float64 `json:"latency_seconds"`                 // of the way from host to host, from a message's last byte to its arrival
	Copy    float64 `json:"copy_bytes_per_second,omitempty"` // that a core of a host sends, while it receives as many, if it does nothing else; one does. 0: the network needs none
	Cores   float64 `json:"cores,omitempty"`                 // of a host: those that Speed is of, and copies take a share of
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
	if c.Copy > 0 && !(c.Cores > 0) {
		errs = append(errs, fmt.Errorf("estimate: %v cores of a host that copies what it sends: give how many it has, such as 8, or 0.5 for four hosts on two cores", c.Cores))
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

// TCPCopy is what a core moves by MPI over TCP, in bytes a second, on a link of the given rate: 0.6 ns a byte, and while a message is on its way
// three eighths of a core, for what comes in pieces. Measured with package dist/mpi: processor time of training steps on network namespaces at
// 1 Gbit/s, over that of the same steps in one process, and exchanges on loopback.
func TCPCopy(link float64) float64 { return 1 / (0.6e-9 + 0.375/link) }

// MessageTime is what package dist/mpi takes for a message over TCP: the way from a goroutine to the thread that owns MPI, and at the other host back.
const MessageTime = 80e-6

// trip is how long a message keeps both ends waiting besides its bytes: the way there, and word back that it was met, with which a send ends.
func (c Cluster) trip() float64 { return 2 * c.Latency }

// byteSeconds is how long a byte takes where a host does nothing but send and receive: on its link, or of the one core that copies.
func (c Cluster) byteSeconds() float64 {
	seconds := 1 / c.Link
	if c.Copy > 0 {
		seconds = max(seconds, 1/(c.Copy*min(c.Cores, 1)))
	}
	return seconds
}

// copySeconds is how long all cores of a host would take to send a byte, or to receive one.
func (c Cluster) copySeconds() float64 {
	if c.Copy == 0 {
		return 0
	}
	return 1 / (2 * c.Copy * c.Cores)
}

// free is the same hosts joined by a network that takes no time.
func (c Cluster) free() Cluster {
	c.Link, c.Latency, c.Copy, c.Message = math.Inf(1), 0, 0, 0
	return c
}
