package cpu

import "github.com/ringgrad/ringgrad/ops/internal/kernel"

// A partial tile holds 0 where a pair is masked, and a product adds 0 times what lies there: nothing, unless that is NaN or Inf.
// Then the product must be taken over the visible pairs alone, or a key that nobody may see would reach every row of the tile.

// finite reports whether x [rows, width] holds neither NaN nor Inf. Zero times x, summed over rows, is a 1-row product: it costs a
// sixtieth of a product of the tile.
func (s *tileScratch[T]) finite(x []T, rows, width int) bool {
	tileNN(s.probe, width, s.zeros, rows, x, width, 1, width, rows, false)
	for _, y := range s.probe[:width] {
		if y != 0 { // NaN: 0·NaN and 0·Inf are
			return false
		}
	}
	return true
}

// visibleProduct is a product of a tile's weights [keys, queries] over its visible pairs.
type visibleProduct[T kernel.Float] struct {
	*geometry
	tile
	weights []T
}

// addToQueries adds weightsᵀ·src to dst: src has a row of width elements for each key, dst for each query.
func (p visibleProduct[T]) addToQueries(dst, src []T, width int) {
	p.each(func(key, query int, weight T) {
		addScaled(dst[query*width:][:width], weight, src[key*width:][:width])
	})
}

// addToKeys adds weights·src to dst: src has a row of width elements for each query, dst for each key.
func (p visibleProduct[T]) addToKeys(dst, src []T, width int) {
	p.each(func(key, query int, weight T) {
		addScaled(dst[key*width:][:width], weight, src[query*width:][:width])
	})
}

func (p visibleProduct[T]) each(f func(key, query int, weight T)) {
	for i := range p.keys {
		for j := range p.queries {
			if p.visible(p.row+j, p.col+i) {
				f(i, j, p.weights[i*p.queries+j])
			}
		}
	}
}

func addScaled[T kernel.Float](dst []T, weight T, src []T) {
	for d, x := range src {
		dst[d] += weight * x
	}
}
