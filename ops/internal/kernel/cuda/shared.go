package cuda

import (
	"errors"
	"sync"

	"github.com/ringgrad/ringgrad/ops/internal/device"
)

// Shared is a block in a device's memory that other ranks of the process copy. Its memory goes back to the pool when its maker has ended
// and all readers have copied it, to be used again behind their copies.
type Shared struct {
	Ptr    device.Ptr
	engine *Engine
	bytes  int
	ready  device.Event // when its contents are there

	mu      sync.Mutex
	readers int // that have not copied it yet
	after   []device.Event
	idle    bool // its maker does not use it any more
	gone    bool
}

// errGone says that the maker of a block has failed.
var errGone = errors.New("cuda: the block is gone: the rank that made it has failed")

// read enqueues a copy, which ends at the event that it returns.
func (x *Shared) read(enqueue func() (device.Event, error)) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.gone || x.readers == 0 {
		return errGone
	}
	e, err := enqueue()
	x.readers--
	if err != nil {
		return err
	}
	x.after = append(x.after, e)
	x.settle()
	return nil
}

// release says that its maker does not use it any more, behind ready.
func (x *Shared) release() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.idle = true
	x.after = append(x.after, x.ready)
	x.settle()
}

// end says that the maker's pass is over. If it has failed nobody will get the block any more.
func (x *Shared) end(failed bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.idle = true
	if failed {
		x.gone, x.readers = true, 0
	}
	x.settle()
}

// settle gives the memory back when nobody will need it any more.
func (x *Shared) settle() {
	if x.readers > 0 || x.Ptr == 0 || !x.idle {
		return
	}
	x.engine.memory.give([]device.Ptr{x.Ptr}, x.after...)
	x.Ptr = 0
}
