package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/hosts"
	"github.com/ringgrad/ringgrad/dist/mpi"
	"github.com/ringgrad/ringgrad/dist/nccl"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// job is what a launcher such as mpirun has started: this process and others of the same command line, of which the first one speaks for all.
type job struct {
	launch  mpi.Launch
	process mpi.Process // nil until join
	seats   []seat      // of the processes
	gpus    error       // why messages do not go from GPU to GPU, where that was asked for
	asked   atomic.Bool // to end, by a signal
}

// seat is where a process sits.
type seat struct {
	host             string
	cores, ofMachine int // processors that it may use, and that the machine has
}

// findJob asks the environment; nil for a process on its own.
func findJob() *job {
	launch, ok := mpi.Launched()
	if !ok || launch.Size == 1 {
		return nil
	}
	return &job{launch: launch}
}

// speaks reports whether this process is the one that people hear.
func (j *job) speaks() bool { return j == nil || j.launch.Rank == 0 }

// join gives the engine between the processes of the job; nil for a process on its own.
func (j *job) join(ctx context.Context) (dist.Engine, error) {
	if j == nil {
		return nil, nil
	}
	process, err := mpi.Start()
	if err != nil {
		return nil, fmt.Errorf("this is process %d of several that %s has started: %w", j.launch.Rank, j.launch.By, err)
	}
	j.process = process
	wire, err := process.World(process.Size())
	if err != nil {
		return nil, err
	}
	return wire, j.meet(ctx, wire)
}

// joinOn is join for ranks on a device: between GPUs messages go by NCCL where this binary and the machine have it. Otherwise they go by MPI,
// which warnings tells.
func (j *job) joinOn(ctx context.Context, device string) (dist.Engine, error) {
	wire, err := j.join(ctx)
	if err != nil || wire == nil || device != string(ring.CUDA) {
		return wire, err
	}
	fast, err := nccl.Open(ctx, wire, nccl.Options{Device: j.place()})
	if err != nil {
		j.gpus = err
		return wire, nil
	}
	return fast, nil
}

// place is the number of this process among those of its host.
func (j *job) place() (n int) {
	own := j.process.Rank()
	for _, s := range j.seats[:own] {
		if s.host == j.seats[own].host {
			n++
		}
	}
	return n
}

// meet lets the processes tell each other where they sit.
func (j *job) meet(ctx context.Context, wire dist.Engine) error {
	c := dist.New(wire, dist.Options{})
	names, err := dist.AllGather(ctx, c, []byte(dist.Hostname()))
	if err != nil {
		return err
	}
	cores, err := dist.AllGather(ctx, c, []int32{int32(runtime.NumCPU()), int32(machineCores())})
	if err != nil {
		return err
	}
	for i, name := range names {
		j.seats = append(j.seats, seat{string(name), int(cores[i][0]), int(cores[i][1])})
	}
	return nil
}

// machineCores is how many processors the machine has, whatever this process may use of them; 0 where that cannot be found out.
func machineCores() int {
	text, err := os.ReadFile("/sys/devices/system/cpu/online") // such as 0-7,16-23
	if err != nil {
		return 0
	}
	n := 0
	for part := range strings.SplitSeq(strings.TrimSpace(string(text)), ",") {
		var first, last int
		switch found, _ := fmt.Sscanf(part, "%d-%d", &first, &last); found {
		case 1:
			n++
		case 2:
			n += last - first + 1
		}
	}
	return n
}

// hosts are those of the processes, each once.
func (j *job) hosts() []string {
	var names []string
	for _, s := range j.seats {
		if !slices.Contains(names, s.host) {
			names = append(names, s.host)
		}
	}
	return names
}

// ranks is how many a ring has unless it is told: one in each process, or so many in a process on its own.
func (j *job) ranks(alone int) int {
	if j == nil {
		return alone
	}
	return j.launch.Size
}

// describe says in the header of a run what it runs on.
func (j *job) describe() string {
	return fmt.Sprintf("%d on %s, by %s under %s", len(j.seats), strings.Join(j.hosts(), ", "), j.process.Library(), j.launch.By)
}

// warnings are about processes that were bound to one processor of several, as mpirun does unless it is told not to.
func (j *job) warnings() []string {
	if j == nil {
		return nil
	}
	var list []string
	if j.gpus != nil {
		list = append(list, fmt.Sprintf("warning: blocks go from host to host by MPI, not from GPU to GPU: %v", j.gpus))
	}
	for i, s := range j.seats {
		if s.cores == 1 && s.ofMachine > 1 {
			list = append(list, fmt.Sprintf("warning: process %d on %s may use 1 of %d processors; start with --bind-to none (Open MPI, MPICH) or --cpus-per-task (srun)", i, s.host, s.ofMachine))
		}
	}
	return list
}

// How long processes wait before they tell an error that another one may be telling, too: it takes a launcher seconds to end a job.
const (
	patient = 5 * time.Second
	turn    = 500 * time.Millisecond // from one process to the next
)

// tells says whether this process is to tell an error. The first one is, or the one behind it if it is itself what the others wait for. The
// others give it the time to say what went wrong, and to end the job with that; then it is their turn. So does one that was asked to end before: a
// launcher that ends a job wakes processes that were stopped, and these see that nobody has waited for them.
func (j *job) tells(err error) bool {
	if j == nil {
		return true
	}
	speaker := 0
	if absent(err) == 0 {
		speaker = 1
	}
	if j.launch.Rank == speaker && !j.asked.Load() {
		return true
	}
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, endSignals...)
	defer signal.Stop(ended)
	select {
	case <-ended: // the launcher does that
		return false
	case <-time.After(patient + time.Duration(j.launch.Rank)*turn):
		return true
	}
}

// absent is the number of the process that an error says all wait for; -1 for none. Until the ranks have joined each process is one.
func absent(err error) int {
	if located, ok := errors.AsType[*hosts.Located](err); ok {
		return located.Process
	}
	if late, ok := errors.AsType[*dist.Late](err); ok {
		return late.Rank
	}
	return -1
}

// end leaves the job: together with the others after good work or an interruption, else by ending all of them.
func (j *job) end(status int) error {
	switch {
	case j == nil || j.process == nil:
		return nil
	case status != 0 && status != exitInterrupted:
		j.process.Abort(status)
	}
	left := make(chan error, 1)
	go func() { left <- j.process.Close() }()
	select {
	case err := <-left:
		return err
	case <-time.After(leaving):
		return nil
	}
}

// leaving is how long MPI may take to end. All processes have done their work then, each knows it of the others, and MPICH 4.0 over TCP hangs there
// now and then: the process ends without it, for which Open MPI's mpirun, if it is that, has words and a status of its own.
const leaving = 10 * time.Second
