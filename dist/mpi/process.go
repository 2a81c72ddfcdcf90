//go:build mpi && cgo

package mpi

// // Go's build cache knows flags, but not what pkg-config says: without flags of their own the two builds would be taken for one another.
// #cgo !mpich pkg-config: ompi
// #cgo !mpich CFLAGS: -DRG_OPEN_MPI
// #cgo mpich pkg-config: mpich
// #cgo mpich CFLAGS: -DRG_MPICH
// #include <stdlib.h>
// #include "owner.h"
import "C"

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/ringgrad/ringgrad/dist"
)

// Patience with what may not end.
var (
	closePatience = 300 * time.Millisecond // sends that peers have not taken when a world or the process is closed; tests shorten it
	abortPatience = 2 * time.Second        // MPI_Abort, before the process ends without it
)

// process gives orders to the owner, and takes their results.
type process struct {
	rank, size, maxTag int
	library            string
	collective         sync.Mutex     // held by World and Close: they must come in one order everywhere
	threads            sync.WaitGroup // the owner and the reaper

	mu      sync.Mutex
	last    uint64                       // id of the last order
	results map[uint64]func(*C.rg_order) // what the reaper does with the result
	closed  bool
}

var (
	_       Process = (*process)(nil)
	started atomic.Bool
)

// Start initialises MPI and gives the place of this process in the job. It works once in a process. Where the launcher says another place than MPI,
// that is an error.
func Start() (Process, error) {
	if started.Swap(true) {
		return nil, errors.New("mpi: Start was called before, and MPI can be initialised once in a process: keep the Process")
	}
	p := &process{results: map[uint64]func(*C.rg_order){}}
	C.rg_prepare()
	p.threads.Go(func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		C.rg_run()
	})
	p.threads.Go(p.reap)
	err := p.do(C.rg_order{kind: C.RG_INIT}, opInit, func(o *C.rg_order) {
		p.rank, p.size, p.maxTag, p.library = int(o.rank), int(o.size), int(o.max_tag), shortLibrary(C.GoString(o.text))
	})
	if err != nil {
		return nil, err
	}
	if launch, ok := Launched(); ok {
		if err := otherLaunch(launch, p.rank, p.size, p.library); err != nil {
			if p.size == 1 { // nobody has to take part
				err = errors.Join(err, p.Close())
			}
			return nil, err
		}
	}
	return p, nil
}

func (p *process) Rank() int       { return p.rank }
func (p *process) Size() int       { return p.size }
func (p *process) Library() string { return p.library }

// World is collective; the owner asks all processes whether they mean the same.
func (p *process) World(n int) (dist.Engine, error) {
	if n < 1 || n > p.size {
		return nil, fmt.Errorf("mpi: a world of %d processes in a job of %d: give 1 to %d", n, p.size, p.size)
	}
	p.collective.Lock()
	defer p.collective.Unlock()
	var e *engine
	err := p.do(C.rg_order{kind: C.RG_WORLD, size: C.int(n)}, fmt.Sprintf("%s of %d", opWorld, n), func(o *C.rg_order) {
		if o.rank >= 0 {
			e = &engine{process: p, world: o.world, rank: int(o.rank), size: n, dead: make(chan struct{})}
		}
	})
	if err != nil || e == nil {
		return nil, err
	}
	return e, nil
}

// Close is collective like World. Receives that are still pending are cancelled; sends that nobody takes are an error, since MPI_Finalize would wait
// for them.
func (p *process) Close() error {
	p.collective.Lock()
	defer p.collective.Unlock()
	var last bool
	err := p.do(C.rg_order{kind: C.RG_FINALIZE, world: -1, patience: C.double(closePatience.Seconds())}, opFinalize,
		func(o *C.rg_order) { last = o.last != 0 })
	if last {
		p.threads.Wait()
	}
	if errors.Is(err, dist.ErrClosed) {
		return nil
	}
	return err
}

// Abort ends the process by itself where MPI does not within abortPatience: its owner may be inside a call that does not return. Launchers take
// the end of a process without MPI_Finalize as the end of the job.
func (p *process) Abort(code int) {
	if p.give(C.rg_order{kind: C.RG_ABORT, size: C.int(code)}, func(*C.rg_order) {}) == nil {
		time.Sleep(abortPatience)
	}
	os.Exit(code)
}

// give hands an order to the owner. The reaper calls then with the result, which lives until then returns.
func (p *process) give(order C.rg_order, then func(*C.rg_order)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return dist.ErrClosed
	}
	p.last++
	order.id = C.uint64_t(p.last)
	p.results[p.last] = then
	o := (*C.rg_order)(C.calloc(1, C.sizeof_rg_order))
	*o = order // a buffer of Go's in it is pinned
	C.rg_give(o)
	return nil
}

// do waits for an order that concerns the whole process, and calls then where it succeeded or was the last.
func (p *process) do(order C.rg_order, op string, then func(*C.rg_order)) error {
	result := make(chan error)
	err := p.give(order, func(o *C.rg_order) {
		err := p.failure(o, op)
		if err == nil || o.last != 0 {
			then(o)
		}
		result <- err
	})
	if err != nil {
		return err
	}
	return <-result
}

func (p *process) failure(o *C.rg_order, op string) error {
	switch o.outcome {
	case C.RG_OK:
		return nil
	case C.RG_DISAGREE:
		return fmt.Errorf("mpi: rank %d: %s: another process asks for a world of another size, or closes: call World and Close in the same order everywhere", p.rank, op)
	case C.RG_UNSENT:
		return fmt.Errorf("mpi: rank %d: %s: %d messages were not received within %v: receive them, or call Abort", p.rank, op, o.got, closePatience)
	}
	return &Error{Op: op, Rank: p.rank, Peer: -1, Tag: -1, Class: int(o.class), Text: C.GoString(o.text)}
}

// reap runs until the owner has ended.
func (p *process) reap() {
	for ended := false; !ended; {
		for o := C.rg_reap(); o != nil; {
			next := o.next
			p.mu.Lock()
			then := p.results[uint64(o.id)]
			delete(p.results, uint64(o.id))
			if o.last != 0 {
				ended, p.closed = true, true
			}
			p.mu.Unlock()
			then(o)
			C.free(unsafe.Pointer(o.text))
			C.free(unsafe.Pointer(o))
			o = next
		}
	}
}
