package data

import "math/rand/v2"

// Random returns sequences of uniformly random tokens, the same for the same seed, to measure with where there are no documents.
func Random(sequences, length, vocabulary int, seed int64) *Split {
	random := rand.New(rand.NewPCG(uint64(seed), 0))
	s := &Split{}
	for range sequences {
		ids := make([]int32, length)
		for i := range ids {
			ids[i] = int32(random.IntN(vocabulary))
		}
		s.sequences = append(s.sequences, Sequence{IDs: ids, Next: ids[0]})
	}
	return s
}
