package ptx

import (
	"encoding/binary"
	"fmt"
	"math"
)

// arena is global memory for tests: allocations with gaps between them.
type arena struct {
	blocks []allocation
	next   uint64
}

type allocation struct {
	base uint64
	data []byte
}

func newArena() *arena { return &arena{next: 0x7f00_0000_0000} }

// alloc reserves n bytes, aligned to 256, zero.
func (a *arena) alloc(n int) uint64 {
	base := a.next
	a.blocks = append(a.blocks, allocation{base, make([]byte, n)})
	a.next += uint64(roundUp(n, 256) + 4096)
	return base
}

func (a *arena) At(addr uint64, n int) ([]byte, error) {
	for _, b := range a.blocks {
		if off := addr - b.base; addr >= b.base && off+uint64(n) <= uint64(len(b.data)) {
			return b.data[off : off+uint64(n) : off+uint64(n)], nil
		}
	}
	return nil, fmt.Errorf("%d bytes at %#x are not allocated", n, addr)
}

func (a *arena) bytes(addr uint64, n int) []byte {
	b, err := a.At(addr, n)
	if err != nil {
		panic(err)
	}
	return b
}

func (a *arena) word(at uint64) uint32 { return binary.LittleEndian.Uint32(a.bytes(at, 4)) }

func (a *arena) float(at uint64) float32 { return math.Float32frombits(a.word(at)) }

// args packs 8-byte and 4-byte parameters one after another.
func args(values ...any) []byte {
	var out []byte
	for _, v := range values {
		switch v := v.(type) {
		case uint64:
			out = binary.LittleEndian.AppendUint64(out, v)
		case int:
			out = binary.LittleEndian.AppendUint32(out, uint32(v))
		case uint32:
			out = binary.LittleEndian.AppendUint32(out, v)
		case float32:
			out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
		default:
			panic(fmt.Sprintf("argument of type %T", v))
		}
	}
	return out
}
