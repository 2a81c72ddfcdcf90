package ring

import (
	"fmt"
	"sync"

	"github.com/ringgrad/ringgrad/ops/internal/kernel/cuda"
)

// blocks has the blocks of this process that are on their way between devices: what a message between ranks stands for.
var blocks numbered

// numbered gives blocks numbers, until all who were to have them have.
type numbered struct {
	mu   sync.Mutex
	last int64
	of   map[int64]*onTheWay
}

type onTheWay struct {
	block   *cuda.Shared
	readers int // still to come
}

// number enters a block.
func (n *numbered) number(x *cuda.Shared, readers int) int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.of == nil {
		n.of = map[int64]*onTheWay{}
	}
	n.last++
	n.of[n.last] = &onTheWay{x, readers}
	return n.last
}

// own is the block of a message that nobody has got yet; nil for no message.
func (n *numbered) own(message []int64) *cuda.Shared {
	if len(message) == 0 {
		return nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.of[message[0]].block
}

// take is the block of a message, for one of its readers.
func (n *numbered) take(message []int64) (*cuda.Shared, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	w, ok := n.of[message[0]]
	if !ok {
		return nil, fmt.Errorf("ring: block %d is gone: the rank that made it has failed", message[0])
	}
	if w.readers--; w.readers == 0 {
		delete(n.of, message[0])
	}
	return w.block, nil
}

// forget strikes blocks out whose maker has failed.
func (n *numbered) forget(numbers ...int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, i := range numbers {
		delete(n.of, i)
	}
}
