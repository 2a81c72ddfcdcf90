// Package extent knows which allocation an address lies in, and what to say of an address that lies in none.
package extent

import (
	"cmp"
	"fmt"
	"slices"
	"sort"
	"sync"
	"sync/atomic"
)

const freedKept = 4096 // allocations remembered after they are gone, to name them in errors

// Extent is an allocation: addresses, and what belongs to them.
type Extent[T any] struct {
	First uint64
	Bytes int
	Of    T
}

// Holds tells whether n bytes from p on lie inside.
func (e *Extent[T]) Holds(p uint64, n int) bool {
	return e != nil && p >= e.First && n <= e.Bytes && p-e.First <= uint64(e.Bytes-n)
}

// Table holds extents that do not overlap. The zero value is empty. Finding takes no lock.
type Table[T any] struct {
	live atomic.Pointer[[]*Extent[T]] // in the order of addresses; replaced, never changed

	mu    sync.Mutex // of changes, and of what follows
	bytes int64
	freed []gone // in the order in which they went
}

// gone is where an extent was.
type gone struct {
	first uint64
	bytes int
}

func (t *Table[T]) all() []*Extent[T] {
	if live := t.live.Load(); live != nil {
		return *live
	}
	return nil
}

// index is the place of the first extent that begins at or after p, and whether it begins there.
func index[T any](live []*Extent[T], p uint64) (int, bool) {
	return slices.BinarySearchFunc(live, p, func(e *Extent[T], p uint64) int { return cmp.Compare(e.First, p) })
}

// Add puts in an extent.
func (t *Table[T]) Add(first uint64, bytes int, of T) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, _ := index(t.all(), first)
	live := slices.Insert(slices.Clone(t.all()), i, &Extent[T]{first, bytes, of})
	t.live.Store(&live)
	t.bytes += int64(bytes)
}

// Remove takes out the extent that begins at an address.
func (t *Table[T]) Remove(first uint64) (*Extent[T], error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	i, found := index(t.all(), first)
	if !found {
		return nil, fmt.Errorf("%#x is not where an allocation begins: %s", first, t.describe(first))
	}
	e := t.all()[i]
	live := slices.Delete(slices.Clone(t.all()), i, i+1)
	t.live.Store(&live)
	t.bytes -= int64(e.Bytes)
	if len(t.freed) == freedKept {
		t.freed = slices.Delete(t.freed, 0, freedKept/2)
	}
	t.freed = append(t.freed, gone{e.First, e.Bytes})
	return e, nil
}

// Clear empties the table and returns what was in it.
func (t *Table[T]) Clear() []*Extent[T] {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.all()
	t.live.Store(nil)
	t.bytes, t.freed = 0, nil
	return was
}

// Size is the number of extents and their bytes.
func (t *Table[T]) Size() (extents int, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all()), t.bytes
}

// Find is the extent that holds n bytes from p on, or an error that says what is there instead.
func (t *Table[T]) Find(p uint64, n int) (*Extent[T], error) {
	if e := t.before(p); e.Holds(p, n) {
		return e, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return nil, fmt.Errorf("%d bytes at %#x are in no allocation: %s", n, p, t.describe(p))
}

// before is the extent that p lies in or comes after, nil if there is none.
func (t *Table[T]) before(p uint64) *Extent[T] {
	live := t.all()
	i := sort.Search(len(live), func(i int) bool { return live[i].First > p })
	if i == 0 {
		return nil
	}
	return live[i-1]
}

// describe says what is at an address. The caller holds the lock.
func (t *Table[T]) describe(p uint64) string {
	e := t.before(p)
	if e.Holds(p, 1) {
		return fmt.Sprintf("it is byte %d of the %d bytes allocated at %#x", p-e.First, e.Bytes, e.First)
	}
	for _, g := range slices.Backward(t.freed) {
		if p >= g.first && p-g.first < uint64(g.bytes) {
			return fmt.Sprintf("it is byte %d of the %d bytes at %#x, which were freed", p-g.first, g.bytes, g.first)
		}
	}
	if e != nil {
		return fmt.Sprintf("it is %d bytes past the end of the %d bytes allocated at %#x", p-e.First-uint64(e.Bytes), e.Bytes, e.First)
	}
	return "nothing was allocated there"
}
