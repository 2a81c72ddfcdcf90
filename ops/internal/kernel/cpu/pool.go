package cpu

import (
	"sync"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// pool keeps scratch memory of one element type and one pair of head dims between calls.
type pool[T kernel.Float] struct {
	free          sync.Pool
	dim, valueDim int
}

func (p *pool[T]) get() *tileScratch[T] {
	if s, ok := p.free.Get().(*tileScratch[T]); ok {
		return s
	}
	return newTileScratch[T](p.dim, p.valueDim)
}

func (p *pool[T]) put(s *tileScratch[T]) { p.free.Put(s) }

// poolKey tells pools apart; the pool's type carries the element type.
type poolKey[T kernel.Float] struct{ dim, valueDim int }

// pools holds *pool[T] by poolKey[T].
var pools sync.Map

// tilePool returns the pool for the given head dims.
func tilePool[T kernel.Float](dim, valueDim int) *pool[T] {
	key := poolKey[T]{dim, valueDim}
	if p, ok := pools.Load(key); ok {
		return p.(*pool[T])
	}
	p, _ := pools.LoadOrStore(key, &pool[T]{dim: dim, valueDim: valueDim})
	return p.(*pool[T])
}
