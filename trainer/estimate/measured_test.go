package estimate

import (
	"testing"

	"github.com/ringgrad/ringgrad/dist/shard"
)

// TestForecastsAreWithin15PercentOfMeasuredSteps: configs/long.yaml on four network namespaces at 1 Gbit/s (package dist/mpi, Open MPI 4.1.4), which
// share two cores, so that a step takes as long as both cores need for it. Seconds are processor time of all processes, user and system, over steps
// and cores, since the machine had other work; of one process with four ranks, from which the speed follows, and of four with one each. One number was
// fitted to them, the part of a core in TCPCopy.
func TestForecastsAreWithin15PercentOfMeasuredSteps(t *testing.T) {
	const hosts, cores = 4, 2
	for _, c := range []struct {
		tokens    int
		one, four float64 // seconds of a step
	}{{4096, 0.353, 0.655}, {8192, 1.08, 1.61}, {16384, 3.70, 4.70}} {
		run := Run{SequenceLen: c.tokens, Ring: 4, Layout: shard.Zigzag}
		on := gigabit(hosts, Compute(long, run).Flops.Total/c.one/1e9/hosts)
		on.Cores, on.Copy, on.Message = cores/float64(hosts), TCPCopy(on.Link), MessageTime
		near(t, "seconds of a step", spread(t, long, run, on).Seconds, c.four, 0.15)
	}
}
