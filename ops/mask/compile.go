package mask

import (
	"cmp"
	"math"
	"slices"
)

// far stands for no bound; sums of two positions and it do not overflow.
const far = math.MaxInt / 4

// band lets the queries at positions [from, to) see the keys at positions [keyFrom, keyTo) with low <= key - query <= high.
type band struct{ from, to, keyFrom, keyTo, low, high int }

func (b band) empty() bool { return b.from >= b.to || b.keyFrom >= b.keyTo || b.low > b.high }

// Mask is a compiled Spec; it never changes. A nil Mask lets every query see every key.
//
// Bands are dealt to layers such that in one layer every query has at most one: documents, windows and causal order take a single
// layer, rectangles one for each that a query takes part in.
type Mask struct{ layers [][]band }

var causal = &Mask{layers: [][]band{{{from: -far, to: far, keyFrom: -far, keyTo: far, low: -far, high: 0}}}}

// CausalOrder is the compiled Spec{Causal: true}, which suits sequences of any length.
func CausalOrder() *Mask { return causal }

// New compiles a spec for a sequence of so many keys.
func New(s Spec, tokens int) (*Mask, error) {
	if err := s.Validate(tokens); err != nil {
		return nil, err
	}
	low, high := s.distances()
	if s.CuSeqlens == nil && s.Rectangles == nil {
		switch {
		case low == -far && high == far:
			return nil, nil
		case low == -far && high == 0:
			return causal, nil
		}
	}
	var all []band
	for _, r := range s.bands() {
		r.low, r.high = max(r.low, low), min(r.high, high)
		all = append(all, s.withinDocuments(r)...)
	}
	return &Mask{layers: layered(all)}, nil
}

// distances bounds key - query.
func (s Spec) distances() (low, high int) {
	low, high = -far, far
	if w := s.Window; w != nil && w.Left >= 0 {
		low = -w.Left
	}
	if w := s.Window; w != nil && w.Right >= 0 {
		high = w.Right
	}
	if s.Causal {
		high = min(high, 0)
	}
	return low, high
}

// bands are the rectangles; without any, all queries by all keys.
func (s Spec) bands() []band {
	if s.Rectangles == nil {
		return []band{{from: -far, to: far, keyFrom: -far, keyTo: far, low: -far, high: far}}
	}
	var out []band
	for _, r := range s.Rectangles {
		b := band{from: r.QueryFrom, to: r.QueryTo, keyFrom: r.KeyFrom, keyTo: r.KeyTo, low: -far, high: far}
		if r.Kind == Causal || r.Kind == Bidirectional {
			b.high = r.KeyTo - r.QueryTo
		}
		if r.Kind == InverseCausal || r.Kind == Bidirectional {
			b.low = r.KeyFrom - r.QueryFrom
		}
		out = append(out, b)
	}
	return out
}

// withinDocuments cuts a band into its parts inside of documents.
func (s Spec) withinDocuments(b band) []band {
	if s.CuSeqlens == nil {
		return []band{b}
	}
	var out []band
	cu := s.CuSeqlens
	first, _ := slices.BinarySearch(cu, max(b.from, 0)+1) // the end of the first document that reaches behind b.from
	for d := max(first, 1); d < len(cu) && cu[d-1] < b.to; d++ {
		part := b
		part.from, part.to = max(b.from, cu[d-1]), min(b.to, cu[d])
		part.keyFrom, part.keyTo = max(b.keyFrom, cu[d-1]), min(b.keyTo, cu[d])
		if !part.empty() {
			out = append(out, part)
		}
	}
	return out
}

// layered deals bands to layers in which the queries of no two overlap.
func layered(all []band) (layers [][]band) {
	all = slices.DeleteFunc(all, band.empty)
	slices.SortStableFunc(all, func(a, b band) int { return cmp.Compare(a.from, b.from) })
next:
	for _, b := range all {
		for i, layer := range layers {
			if layer[len(layer)-1].to <= b.from {
				layers[i] = append(layer, b)
				continue next
			}
		}
		layers = append(layers, []band{b})
	}
	if layers == nil {
		layers = [][]band{nil} // nobody sees anything
	}
	return layers
}

// Layers is the number of intervals that a query can have; 0 for the nil Mask, to which everything is visible.
func (m *Mask) Layers() int {
	if m == nil {
		return 0
	}
	return len(m.layers)
}

// Intervals writes the keys [low[n], high[n]) that each of the queries at the given positions sees by one layer. Where there are none,
// low is equal to high.
func (m *Mask) Intervals(layer int, queries, low, high []int) {
	bands, at := m.layers[layer], 0
	for n, i := range queries {
		at = find(bands, at, i)
		low[n], high[n] = 0, 0
		if n > 0 {
			low[n], high[n] = high[n-1], high[n-1] // keeps rising bounds rising
		}
		if at < len(bands) && bands[at].from <= i {
			if lo, hi := bands[at].interval(i); lo < hi {
				low[n], high[n] = lo, hi
			}
		}
	}
}

// find is the first band that ends behind query i, given that of the query before.
func find(bands []band, at, i int) int {
	if at < len(bands) && i < bands[at].to && (at == 0 || i >= bands[at-1].to) {
		return at
	}
	at, _ = slices.BinarySearchFunc(bands, i, func(b band, i int) int {
		if b.to <= i {
			return -1
		}
		return 1
	})
	return at
}

func (b band) interval(i int) (low, high int) {
	return max(b.keyFrom, i+b.low), min(b.keyTo, i+b.high+1)
}

// Count is how many of the keys 0..keys-1 the query at position i sees.
func (m *Mask) Count(i, keys int) int {
	if m == nil {
		return keys
	}
	n, end := 0, 0
	m.eachInterval(i, func(low, high int) {
		low, high = max(low, end), min(high, keys)
		if low < high {
			n, end = n+high-low, high
		}
	})
	return n
}

// eachInterval calls f for the intervals of the query at position i, in rising order.
func (m *Mask) eachInterval(i int, f func(low, high int)) {
	if len(m.layers) == 1 { // the common case, without memory
		if low, high, some := m.interval(0, i); some {
			f(low, high)
		}
		return
	}
	var all [][2]int
	for layer := range m.layers {
		if low, high, some := m.interval(layer, i); some {
			all = append(all, [2]int{low, high})
		}
	}
	slices.SortFunc(all, func(a, b [2]int) int { return cmp.Compare(a[0], b[0]) })
	for _, x := range all {
		f(x[0], x[1])
	}
}

func (m *Mask) interval(layer, i int) (low, high int, some bool) {
	bands := m.layers[layer]
	at := find(bands, 0, i)
	if at == len(bands) || bands[at].from > i {
		return 0, 0, false
	}
	low, high = bands[at].interval(i)
	return low, high, low < high
}

// Areas returns the number of visible pairs of the queries before each position: element i is that of the queries from..from+i-1, and
// the last, n, that of all n queries. Keys are those at 0..keys-1.
func (m *Mask) Areas(from, n, keys int) []int64 {
	sums := make([]int64, n+1)
	for i := range n {
		sums[i+1] = sums[i] + int64(m.Count(from+i, keys))
	}
	return sums
}

// Positions are Start, Start+Stride, ... (Count of them); Stride is at least 1.
type Positions struct{ Start, Stride, Count int }

// holds reports whether one of the positions lies in [low, high).
func (p Positions) holds(low, high int) bool {
	first := p.Start
	if low > p.Start {
		first += (low - p.Start + p.Stride - 1) / p.Stride * p.Stride
	}
	return p.Count > 0 && first < high && first <= p.Start+(p.Count-1)*p.Stride
}

// Meet reports whether any of the queries sees any of the keys. It takes a look at every band, and at single queries only where those of
// a band see fewer neighbours than lie between them.
func (m *Mask) Meet(queries, keys Positions) bool {
	if queries.Count == 0 || keys.Count == 0 {
		return false
	}
	if m == nil {
		return true
	}
	end := queries.Start + (queries.Count-1)*queries.Stride + 1
	for _, bands := range m.layers {
		for at := find(bands, 0, queries.Start); at < len(bands) && bands[at].from < end; at++ {
			if bands[at].meet(queries, keys) {
				return true
			}
		}
	}
	return false
}

func (b band) meet(queries, keys Positions) bool {
	// the queries of the band that see anything
	from, to := max(b.from, b.keyFrom-b.high), min(b.to, b.keyTo-b.low)
	skip := max(0, from-queries.Start+queries.Stride-1) / queries.Stride
	first := queries.Start + skip*queries.Stride
	last := min(to-1, queries.Start+(queries.Count-1)*queries.Stride)
	if first > last {
		return false
	}
	last = first + (last-first)/queries.Stride*queries.Stride
	if b.high-b.low+1 >= queries.Stride { // together they see all from the first one's first key to the last one's last
		low, _ := b.interval(first)
		_, high := b.interval(last)
		return keys.holds(low, high)
	}
	for i := first; i <= last; i += queries.Stride {
		if keys.holds(b.interval(i)) {
			return true
		}
	}
	return false
}
