package disttest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"

	"github.com/ringgrad/ringgrad/dist"
)

// values are the n numbers that a rank gives to a case: everybody can make everybody's.
func values[T dist.Number](seed uint64, rank, n int) []T {
	r := rand.New(rand.NewPCG(seed, uint64(rank)))
	v := make([]T, n)
	for i := range v {
		// Magnitudes differ, so that sums in another order have other bits; whole numbers keep a part of it.
		v[i] = T(r.NormFloat64() * float64(int(1)<<r.IntN(20)))
	}
	return v
}

// sum adds what all ranks give, in the order of the ranks.
func sum[T dist.Number](seed uint64, size, n int) []T {
	total := values[T](seed, 0, n)
	for rank := 1; rank < size; rank++ {
		for i, x := range values[T](seed, rank, n) {
			total[i] += x
		}
	}
	return total
}

// same compares bit for bit.
func same[T dist.Number](what string, got, want []T) error {
	if len(got) != len(want) {
		return fmt.Errorf("%s: %d elements, want %d", what, len(got), len(want))
	}
	if !bytes.Equal(bits(got), bits(want)) {
		for i := range got {
			if !bytes.Equal(bits(got[i:i+1]), bits(want[i:i+1])) {
				return fmt.Errorf("%s: element %d of %d is %v, want %v bit for bit", what, i, len(got), got[i], want[i])
			}
		}
	}
	return nil
}

func bits[T dist.Number](v []T) []byte {
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
		panic(err) // numbers of fixed size can always be written to a buffer
	}
	return b.Bytes()
}

// message is n bytes that depend on all of key.
func message(n int, key ...int) []byte {
	seed := uint64(0)
	for _, k := range key {
		seed = seed*1_000_003 + uint64(k) + 1
	}
	return values[byte](seed, 0, n)
}
