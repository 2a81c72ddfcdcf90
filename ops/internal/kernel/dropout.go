package kernel

import "math"

// Dropout hides pairs at random, by a counter: whether the pair (query, key) of a head is kept depends on the head's key and the two
// global positions alone, so it is the same on any number of ranks and in the backward pass. The zero value drops nothing.
type Dropout struct {
	Threshold uint32   // a pair is dropped with probability Threshold/2^32
	Keys      []uint64 // one a query head, see DropoutKey
}

// Scale is what kept weights are multiplied by to keep their expectation: 1/(1-p) with p = Threshold/2^32.
func (d Dropout) Scale() float64 { return 1 / (1 - math.Ldexp(float64(d.Threshold), -32)) }

// NewThreshold is p in units of 2^-32, to the nearest: 0 for p <= 0 (and NaN), the largest for p near 1 and beyond.
func NewThreshold(p float64) uint32 {
	t := math.Round(math.Ldexp(p, 32))
	switch {
	case t >= math.MaxUint32:
		return math.MaxUint32
	case t > 0:
		return uint32(t)
	}
	return 0
}

// golden is 2^64 divided by the golden ratio, the step of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
// generators, OOPSLA 2014); keyStream sets the words of keys apart from those of queries.
const (
	golden    = 0x9e3779b97f4a7c15
	keyStream = 0xd1b54a32d192ed03
)

// finalize is SplitMix64's output function, a bijection whose every output bit depends on all bits of z.
func finalize(z uint64) uint64 {
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// DropoutKey mixes the four into the key of a query head. Any of them may be 0.
func DropoutKey(seed, step uint64, layer, head int) uint64 {
	var h uint64
	for _, v := range [...]uint64{seed, step, uint64(layer), uint64(head)} {
		h = finalize((h ^ v) + golden)
	}
	return h
}

// QueryWord is the word of a query at a global position: number position of the SplitMix64 stream that key begins.
func QueryWord(key uint64, position int) uint32 {
	return uint32(finalize(key+(uint64(position)+1)*golden) >> 32)
}

// KeyWord is the word of a key at a global position, from a stream of its own.
func KeyWord(key uint64, position int) uint32 { return QueryWord(finalize(key^keyStream), position) }

// Kept says whether a pair is kept, from its two words. The mixer is lowbias32 of Chris Wellons (hash-prospector), a bijection.
func Kept(query, key, threshold uint32) bool {
	x := query ^ key
	x = (x ^ x>>16) * 0x7feb352d
	x = (x ^ x>>15) * 0x846ca68b
	return x^x>>16 >= threshold
}
