package trainer

import (
	"context"
	"fmt"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/trainer/checkpoint"
	"github.com/ringgrad/ringgrad/trainer/config"
	"github.com/ringgrad/ringgrad/trainer/eval"
)

// mesh is the place of a rank among all of a run: data_parallel_size rings of context_parallel_size ranks each, dealt to processes in
// this order. Here 2 rings of 4 in 4 processes of 2 ranks:
//
//	             context 0   1   2   3
//	data 0   rank   [ 0   1 ] [ 2   3 ]        ring: a row, splits every sequence
//	data 1   rank   [ 4   5 ] [ 6   7 ]        across: a column, the leaders of which share out the optimizer (zero_stage 1)
//
// The first rank of a process leads it: it keeps what the process's ranks share. Rank 0 leads the run: it writes the files.
type mesh struct {
	world  *dist.Comm // all ranks
	ring   *dist.Comm // those that split the same sequences
	inside *dist.Comm // those of this process
	sums   *dist.Comm // all ranks again, for a goroutine beside: gradients are added while the pass goes on
	across *dist.Comm // of a leader: the leaders that keep the other shares of the optimizer; of others nothing of use

	data, rings int // number of the own ring, and of all
	perProcess  int
}

// newMesh divides all ranks. All of them call it.
func newMesh(ctx context.Context, world *dist.Comm, c config.Config, perProcess int) (m mesh, err error) {
	rank, size := world.Rank(), c.ContextParallelSize
	m = mesh{world: world, ring: world, inside: world, sums: world, across: world, data: rank / size, rings: c.DataParallelSize, perProcess: perProcess}
	for _, group := range []struct {
		comm  **dist.Comm
		color int
		whole bool // one group, which is all ranks
	}{
		{&m.ring, m.data, m.rings == 1},
		{&m.inside, rank / perProcess, perProcess == world.Size()},
		{&m.sums, 0, perProcess == world.Size()},
		{&m.across, m.column(rank % size), false},
	} {
		if group.whole {
			continue
		}
		if *group.comm, err = dist.Split(ctx, world, group.color, rank); err != nil {
			return m, fmt.Errorf("trainer: mesh of %d x %d ranks: %w", m.rings, size, err)
		}
	}
	return m, nil
}

// column tells the groups across apart: leaders at one place of their rings together, all other ranks in a group of their own.
func (m mesh) column(context int) int {
	if m.leads() {
		return context
	}
	return -1
}

// leads reports whether the rank keeps what its process shares.
func (m mesh) leads() bool { return m.world.Rank()%m.perProcess == 0 }

// evaluating shares evaluations out over the rings.
func (m mesh) evaluating() eval.Rings {
	return eval.Rings{World: m.world, Number: m.data, Of: m.rings}
}

// dealt is how the ranks of a run are dealt to processes.
type dealt struct {
	process, processes int              // own number, and of all
	ranks              int              // in each process
	share              checkpoint.Share // of the optimizer that this process keeps
}

// deal deals the ranks of a config to processes, and completes what it leaves to them: a config of one rank becomes a ring with one in each
// process, and ring_inner_size 0 the part of a process in a ring that spans several. Numbers of processes that do not fit are refused.
func deal(c *config.Config, processes dist.Engine) (dealt, error) {
	d := dealt{processes: 1}
	if processes != nil {
		d.process, d.processes = processes.Rank(), processes.Size()
	}
	if c.DataParallelSize*c.ContextParallelSize == 1 {
		c.ContextParallelSize = d.processes
	}
	all := c.DataParallelSize * c.ContextParallelSize
	if all%d.processes != 0 {
		return d, fmt.Errorf("trainer: the ranks of data_parallel_size %d x context_parallel_size %d cannot be dealt to %d processes; start a number of processes that divides %d, or set context_parallel_size to a multiple of %d",
			c.DataParallelSize, c.ContextParallelSize, d.processes, all, d.processes)
	}
	d.ranks = all / d.processes
	c.RingInnerSize = d.innerRing(*c)
	if c.ZeroStage == 0 {
		return d, nil
	}
	size := c.ContextParallelSize
	switch {
	case size%d.ranks == 0: // a ring takes one process or several, which keep the same share
		d.share = checkpoint.Share{Number: d.process / (size / d.ranks), Of: c.DataParallelSize}
	case d.ranks%size == 0: // a process has several rings
		d.share = checkpoint.Share{Number: d.process, Of: d.processes}
	default:
		return d, fmt.Errorf("trainer: zero_stage is 1, but rings of %d ranks (context_parallel_size) and processes of %d do not fit into each other; start another number of processes, or set zero_stage: 0", size, d.ranks)
	}
	return d, nil
}

// innerRing is ring_inner_size, which a config may leave to the processes.
func (d dealt) innerRing(c config.Config) int {
	group := max(c.UlyssesSize, 1)
	inner := d.ranks / group
	if c.RingInnerSize > 0 || d.processes == 1 || d.ranks >= c.ContextParallelSize || d.ranks%group != 0 || c.ContextParallelSize%d.ranks != 0 {
		return max(c.RingInnerSize, 1)
	}
	return inner
}
