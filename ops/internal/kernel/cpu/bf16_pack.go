package cpu

import (
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// tilePairs is the pairs of keys of a tile, padded so that turn can write them.
const tilePairs = (tileKeys/2 + lanes - 1) / lanes * lanes

// words is how many words a row of so many bfloat16 takes.
func words(width int) int { return ceilDiv(width, 2) }

// pairRows is bfloat16 rows [heads·n, width] as a product reads them for its A: whole words to a row.
type pairRows struct {
	data   []uint32
	stride int // words of a row
	memory *scratch[float32]
}

// rowsOf reads packed rows where they are if their width is even, and else pads each with a zero.
func rowsOf(packed []float32, rows, width int) pairRows {
	r := pairRows{data: wordsOf(packed), stride: words(width)}
	if width%2 == 0 {
		return r
	}
	r.memory = borrow[float32](rows * r.stride)
	src := halves(r.data)
	r.data = wordsOf(r.memory.data)
	dst := halves(r.data)
	for i := range rows {
		row := dst[2*i*r.stride:][:width+1]
		copy(row, src[i*width:][:width])
		row[width] = 0
	}
	return r
}

func (r pairRows) giveBack() {
	if r.memory != nil {
		r.memory.giveBack()
	}
}

// row is the rows from i on.
func (r pairRows) row(i int) []uint32 { return r.data[i*r.stride:] }

// turnedTiles is keys or values by tile and column, [heads, tiles, roundUp(width), tilePairs]: the A of products whose depth is keys.
type turnedTiles struct {
	data   []uint32
	finite []float32 // by tile: 1 if none of its elements is infinite or NaN
	tiles  int       // of a head
	size   int       // words of a tile
	memory *scratch[float32]
}

// turned packs n rows to a head of packed rows, in parallel.
func (a pairAttention) turned(packed []float32, heads, n, width int) turnedTiles {
	w := roundUp(width, lanes)
	r := turnedTiles{tiles: ceilDiv(n, tileKeys), size: w * tilePairs}
	r.memory = borrow[float32](heads * r.tiles * (r.size + 1))
	r.data, r.finite = wordsOf(r.memory.data), r.memory.data[heads*r.tiles*r.size:]
	src := halves(wordsOf(packed))
	spread(heads*n*width*copyWork, heads*r.tiles, func(task int) {
		head, first := task/r.tiles, task%r.tiles*tileKeys
		stage := borrow[float32](r.size)
		defer stage.giveBack()
		zipped := wordsOf(stage.data)
		rows := min(tileKeys, n-first)
		a.zipRows(zipped, w, src[(head*n+first)*width:], width, rows, width)
		clear(zipped[words(rows)*w:])
		if r.finite[task] = 0; finite(zipped) {
			r.finite[task] = 1
		}
		a.turn(r.data[task*r.size:], tilePairs, zipped, w, tilePairs, w)
	})
	return r
}

func (r turnedTiles) giveBack() { r.memory.giveBack() }

// of is the tile of a head that begins at key col.
func (r turnedTiles) of(head, col int) []uint32 {
	return r.data[(head*r.tiles+col/tileKeys)*r.size:][:r.size]
}

// isFinite is whether zeros may stand for what the mask hides of the tile.
func (r turnedTiles) isFinite(head, col int) bool { return r.finite[head*r.tiles+col/tileKeys] == 1 }

// zipRows makes pairs of neighbouring rows of src [rows, width]; an odd last row is paired with zeros.
func (p *pairPrimitives) zipRows(dst []uint32, ldd int, src []uint16, lds, rows, width int) {
	for i := 0; i < rows; i += 2 {
		even, odd := src[i*lds:][:width], zeroRow[:width]
		if i+1 < rows {
			odd = src[(i+1)*lds:][:width]
		}
		p.zip(dst[i/2*ldd:], even, odd)
	}
}

var zeroRow [kernel.MaxDim]uint16

// pairPanel is one panel of queries, or of output gradients, as products read it. Rows and columns are padded with zeros.
type pairPanel struct {
	width  int      // of a row, in elements
	rows   []uint32 // [queries, roundUp(words)]
	turned []uint32 // [roundUp(words), queries], the B of products whose depth is the width
	zipped []uint32 // [queries/2, roundUp(width)], the B of products whose depth is queries; nil in the forward pass
}

// stride is the words of a row.
func (p pairPanel) stride() int { return roundUp(words(p.width), lanes) }

// load rounds and arranges n rows of src [n, width].
func (p pairPanel) load(s *pairPrimitives, src []float32, n int) {
	stride := p.stride()
	if p.width == 2*stride && n == panelRows {
		s.narrow(halves(p.rows), src[:n*p.width])
	} else {
		clear(p.rows)
		for i := range n {
			s.narrow(halves(p.rows[i*stride:])[:p.width], src[i*p.width:][:p.width])
		}
	}
	s.turn(p.turned, panelRows, p.rows, stride, panelRows, stride)
	if p.zipped != nil {
		s.zipRows(p.zipped, roundUp(p.width, lanes), halves(p.rows), 2*stride, panelRows, p.width)
	}
}

// negate turns the sign of the turned rows, for a negative scale.
func (p pairPanel) negate() {
	for i := range p.turned {
		p.turned[i] ^= 0x80008000
	}
}

// pairScratch is a task's working memory.
type pairScratch struct {
	memory     *scratch[float32]
	q, dOut    pairPanel
	x, dp      []float32 // [keys, queries]
	p, ds      []uint32  // [keys, queries/2], or pairs [keys/2, queries]
	pairs      []uint32  // [keys/2, queries]
	sums       []float32 // [roundUp(width), queries]: the forward's Oᵀ, the backward's dQᵀ
	staged     []float32 // sums transposed
	dq         []float32 // [queries, D]
	ref, delta []float32 // [queries]
	sum, high  []float32 // [queries]
	rowAt      []float32 // [queries], see tileScratch
	colAt      []float32 // [keys]
	tanh       []float32 // [keys, queries]; nil in the forward pass
	state      *tileState
}

// borrowPairScratch returns the memory of a forward task, and with backward that of a backward task.
func borrowPairScratch(b kernel.Block, backward bool) pairScratch {
	const n, k = panelRows, tileKeys
	d, dv := roundUp(b.Dim, lanes), roundUp(b.ValueDim, lanes)
	dWords, dvWords := roundUp(words(b.Dim), lanes), roundUp(words(b.ValueDim), lanes)
	width, size, capped := dv, 2*n*dWords+k*n+k*n/2+5*n+k+2*n*dv, 0
	if backward {
		if b.Softcap != 0 {
			capped = k * n
		}
		width, size = d, 2*n*dWords+2*n*dvWords+n/2*(d+dv)+2*k*n+3*k*n/2+5*n+k+2*n*d+n*b.Dim+capped
	}
	s := pairScratch{
		memory: borrow[float32](size), q: pairPanel{width: b.Dim}, dOut: pairPanel{width: b.ValueDim}, state: tileStates.Get().(*tileState),
	}
	rest := s.memory.data
	floats := func(n int) []float32 {
		part := rest[:n:n]
		rest = rest[n:]
		return part
	}
	ints := func(n int) []uint32 { return wordsOf(floats(n)) }
	s.q.rows, s.q.turned = ints(n*dWords), ints(n*dWords)
	s.x, s.p = floats(k*n), ints(k*n/2)
	s.ref, s.delta, s.sum, s.high = floats(n), floats(n), floats(n), floats(n)
	s.sums, s.staged = floats(n*width), floats(n*width)
	s.rowAt, s.colAt, s.tanh = floats(n), floats(k), floats(capped)
	if backward {
		s.q.zipped, s.dOut.zipped = ints(n/2*d), ints(n/2*dv)
		s.dOut.rows, s.dOut.turned = ints(n*dvWords), ints(n*dvWords)
		s.dp, s.ds, s.pairs, s.dq = floats(k*n), ints(k*n/2), ints(k*n/2), floats(n*b.Dim)
	}
	return s
}

func (s *pairScratch) giveBack() {
	s.memory.giveBack()
	tileStates.Put(s.state)
}

// prepare readies the modifier and dropout for the panel of queries of a head at the positions rows.
func (s *pairScratch) prepare(g *geometry, head int, rows []int) {
	if g.Slopes != nil {
		clear(s.rowAt)
		setDistances(s.rowAt, rows, rows[0])
	}
	s.state.setWords(g, head, rows)
}

// modify applies softcap and bias to the steps of a tile of scores.
func (s *pairScratch) modify(g *geometry, t *trimmed, head int) {
	if g.plain() {
		return
	}
	setDistances(s.colAt, g.cols[t.col:][:t.keys], g.rows[t.row])
	for _, step := range t.steps() {
		at, p := t.offset(step), tilePart{t.width, step.keys, t.columns(step)}
		modifier[float32]{g, head, s.rowAt[step.from:], s.colAt[step.key:]}.apply(s.x[at:], from(s.tanh, at), p)
	}
}

// dropped has the bits of the queries left for which dropout does not keep the key.
func (s *pairScratch) dropped(t *trimmed, key int) uint64 {
	return (lanesBetween(t.skip, t.skip+t.left) &^ s.state.kept[key]) >> t.skip
}

// trimmed is a tile without the queries that see none of its keys, in whole vectors.
type trimmed struct {
	*tile
	skip, left  int // queries of the panel that lie before those left, and how many are left
	width, even int // queries left and keys, with padding
}

// trimmed sets t to the tile of a panel and the keys from col on, a multiple of tileKeys; false if the mask leaves nothing of it.
func (g *geometry) trimmed(t *tile, panel, col int) (trimmed, bool) {
	if !g.tile(t, panel, col, min(tileKeys, len(g.cols)-col)) {
		return trimmed{}, false
	}
	from, to := t.queriesSeeing()
	return trimmed{tile: t, skip: from, left: to - from, width: roundUp(to-from, lanes), even: roundUp(t.keys, 2)}, true
}

// offset is where the step's scores begin in a matrix [keys, width], columns how wide they are.
func (t *trimmed) offset(s step) int  { return s.key*t.width + s.from - t.skip }
func (t *trimmed) columns(s step) int { return roundUp(s.to-s.from, lanes) }

// ragged reports whether zeros stand for pairs that exist but are hidden.
func (t *trimmed) ragged() bool { return !t.isWhole() }

// hideScores writes -Inf over the pairs of a tile of scores [keys, width] that the mask hides, over the columns behind the queries, and
// over the row that fills up an odd number of keys.
func (t *trimmed) hideScores(x []float32) {
	none := float32(math.Inf(-1))
	if t.keys%2 != 0 {
		setAll(x[t.keys*t.width:][:t.width], none)
	}
	switch {
	case !t.isWhole():
		sift(x, tilePart{t.width, t.keys, t.width}, t.seen[:t.keys], t.skip, none)
	case t.width > t.left:
		for i := range t.keys {
			setAll(x[i*t.width:][:t.width][t.left:], none)
		}
	}
}
