package cuda

import (
	"fmt"
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/device"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/mask"
)

// table is what the kernels need to know of who sees whom in a block, in one piece of device memory.
type table struct {
	memory                                    device.Ptr
	span, qpos, kpos, slope                   device.Ptr
	forwardStart, forwardTile                 device.Ptr
	backwardStart, backwardTile, backwardTurn device.Ptr
	layers                                    int
	pairs                                     int // of tiles that are not empty, in the forward pass
	users                                     int // Blocks that have not been released
	used                                      int64
}

// tableKey is all that a table depends on. It keeps the mask, so no later one has its address.
type tableKey struct {
	mask              *mask.Mask
	rows, cols        string
	slopes            string
	forward, backward tiling
}

func keyOf(b kernel.Block, k *kernels) tableKey {
	return tableKey{
		mask: b.Mask, rows: string(rawBytes(b.Rows)), cols: string(rawBytes(b.Cols)), slopes: string(rawBytes(b.Slopes)),
		forward: k.forward.tiling, backward: k.backward.tiling,
	}
}

// positions lists what segments stand for.
func positions(segments []kernel.Segment) []int {
	p := make([]int, 0, kernel.Len(segments))
	for _, s := range segments {
		for i := range s.Count {
			p = append(p, s.Start+i*s.Stride)
		}
	}
	return p
}

// limitOf is behind the last position of segments.
func limitOf(segments []kernel.Segment) (limit int, err error) {
	for _, s := range segments {
		if s.Count == 0 {
			continue
		}
		if s.Start < 0 || s.Stride < 1 || end(s) > MaxPosition {
			return 0, fmt.Errorf("cuda: segment of %d positions from %d in steps of %d: give positions from 0 to %d, in steps of at least 1",
				s.Count, s.Start, s.Stride, MaxPosition)
		}
		limit = max(limit, end(s)+1)
	}
	return limit, nil
}

// padded32 is positions as the kernels want them: with filling up to whole blocks of rows.
func padded32(p []int, filling int32) []int32 {
	out := make([]int32, PaddedRows(len(p)))
	for i := range out {
		out[i] = filling
		if i < len(p) {
			out[i] = int32(p[i])
		}
	}
	return out
}

// image is arrays that go to the device in one piece.
type image struct {
	bytes  []byte
	places []place
}

type place struct {
	of *device.Ptr
	at int
}

func (m *image) add(of *device.Ptr, b []byte) {
	m.places = append(m.places, place{of, len(m.bytes)})
	m.bytes = append(m.bytes, b...)
	m.bytes = append(m.bytes, make([]byte, roundUp(len(m.bytes), pieceUnit)-len(m.bytes))...)
}

// newTable makes the table of a block and lays out its image.
func newTable(b kernel.Block, k *kernels) (*table, *image, error) {
	if _, err := limitOf(b.Rows); err != nil {
		return nil, nil, err
	}
	limit, err := limitOf(b.Cols)
	if err != nil {
		return nil, nil, err
	}
	rows := positions(b.Rows)
	spans, v := look(b.Mask, rows, b.Cols, limit)
	forward := v.byQuery(k.forward.tiling)
	backward, turn := v.byQuery(k.backward.tiling).turned(PaddedRows(v.keys) / k.backward.keys)
	t, m := &table{layers: max(b.Mask.Layers(), 1), pairs: len(forward.tiles)}, &image{}
	m.add(&t.span, rawBytes(spans))
	m.add(&t.qpos, rawBytes(padded32(rows, 0)))
	m.add(&t.kpos, rawBytes(padded32(positions(b.Cols), -1)))
	m.add(&t.slope, rawBytes(slopesOf(b)))
	m.add(&t.forwardStart, rawBytes(forward.start))
	m.add(&t.forwardTile, rawBytes(forward.tiles))
	m.add(&t.backwardStart, rawBytes(backward.start))
	m.add(&t.backwardTile, rawBytes(backward.tiles))
	m.add(&t.backwardTurn, rawBytes(turn))
	return t, m, nil
}

// slopesOf is ALiBi's slopes in units of log2.
func slopesOf(b kernel.Block) []float32 {
	out := make([]float32, len(b.Slopes))
	for i, s := range b.Slopes {
		out[i] = float32(s * math.Log2E)
	}
	return out
}

// settle says where the arrays lie in memory.
func (t *table) settle(m *image, memory device.Ptr) {
	t.memory = memory
	for _, p := range m.places {
		*p.of = memory + device.Ptr(p.at)
	}
}

// table returns the table of a block, with one more user.
func (e *Engine) table(b kernel.Block, k *kernels) (*table, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.clock++
	key := keyOf(b, k)
	if t, ok := e.tables[key]; ok {
		t.users, t.used = t.users+1, e.clock
		return t, nil
	}
	t, m, err := newTable(b, k)
	if err != nil {
		return nil, err
	}
	memory, err := e.keep(m.bytes)
	if err != nil {
		return nil, err
	}
	t.settle(m, memory)
	t.users, t.used = 1, e.clock
	e.tables[key] = t
	e.evict()
	return t, nil
}

// evict gives back tables that nobody uses, the longest unused first, until no more than Options.Tables are left of them.
func (e *Engine) evict() {
	for {
		var oldest tableKey
		idle, used := 0, e.clock
		for key, t := range e.tables {
			if t.users > 0 {
				continue
			}
			idle++
			if t.used <= used {
				oldest, used = key, t.used
			}
		}
		if idle <= e.options.Tables {
			return
		}
		e.Give(e.tables[oldest].memory)
		delete(e.tables, oldest)
	}
}

func (e *Engine) release(t *table) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t.users--
	e.evict()
}
