package data

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"
)

// Streams of random numbers beside those of the epochs, which are numbered from 0.
const (
	valStream      = math.MaxUint64
	documentStream = math.MaxUint64 - 1
)

// permutation is the order of n things for a seed and a stream: Fisher and Yates' shuffle from the end, the index being the
// high word of (i+1) times the next output of PCG-DXSM seeded with (seed, stream). It is written out here because resuming a
// run depends on it for ever.
func permutation(n int, seed int64, stream uint64) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	source := rand.NewPCG(uint64(seed), stream)
	for i := n - 1; i > 0; i-- {
		j, _ := bits.Mul64(source.Uint64(), uint64(i+1))
		order[i], order[j] = order[j], order[i]
	}
	return order
}

func shuffled(documents []document, order []int) []document {
	out := make([]document, len(order))
	for i, j := range order {
		out[i] = documents[j]
	}
	return out
}

// holdBack moves some documents, picked by the seed, from training to validation. Both keep their order.
func holdBack(all []document, size float64, seed int64) (train, val []document, err error) {
	if size == 0 {
		return all, nil, nil
	}
	count := int(size)
	if size < 1 {
		count = max(1, int(math.Round(size*float64(len(all)))))
	}
	if count >= len(all) {
		return nil, nil, fmt.Errorf("val_set_size %v holds back %d of %d documents, which leaves none to train on; lower it, set it to 0, or give test_datasets", size, count, len(all))
	}
	held := make([]bool, len(all))
	for _, i := range permutation(len(all), seed, valStream)[:count] {
		held[i] = true
	}
	for i, d := range all {
		if held[i] {
			val = append(val, d)
		} else {
			train = append(train, d)
		}
	}
	return train, val, nil
}

// Ignored is the label of a position that has nothing to predict.
const Ignored = -100

// Sequence is what the model sees at once.
type Sequence struct {
	IDs      []int32 // shared with the split: read only
	Next     int32   // the token after the last one, or Ignored where the text ends there or is cut for good
	Document int     // index in Documents of where the sequence starts
}

// Labels returns the token to predict at each position: the next one.
func (s Sequence) Labels() []int32 {
	labels := make([]int32, len(s.IDs))
	copy(labels, s.IDs[1:])
	labels[len(labels)-1] = s.Next
	return labels
}

// Split is the training or the held-back part of a dataset.
type Split struct {
	documents []document
	sequences []Sequence
}

// Len is the number of sequences.
func (s *Split) Len() int { return len(s.sequences) }

// Sequence returns sequence i, in the order of the documents.
func (s *Split) Sequence(i int) Sequence { return s.sequences[i] }

// Documents returns the token ids of every document, whole, whatever the sequences made of it.
func (s *Split) Documents() [][]int32 {
	out := make([][]int32, len(s.documents))
	for i, d := range s.documents {
		out[i] = d.ids
	}
	return out
}

// Names returns the file of every document, with the line for JSONL.
func (s *Split) Names() []string {
	out := make([]string, len(s.documents))
	for i, d := range s.documents {
		out[i] = d.name
	}
	return out
}

// Tokens is the number of tokens of all sequences.
func (s *Split) Tokens() int {
	n := 0
	for _, q := range s.sequences {
		n += len(q.IDs)
	}
	return n
}

// cut makes the sequences of a split.
func cut(documents []document, o Options, c *Counts) (*Split, error) {
	s := &Split{documents: documents}
	if o.Concatenate {
		s.concatenate(o, c)
		return s, nil
	}
	for i, d := range documents {
		if err := s.alone(i, d, o, c); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// alone makes the sequences of one document that is not joined with others.
func (s *Split) alone(i int, d document, o Options, c *Counts) error {
	n := len(d.ids)
	if n < 2 {
		return fmt.Errorf("%s: the document has one token and so nothing to predict; leave such documents out with `min_document_tokens: 2`, or set concatenate", d.name)
	}
	if o.SequenceLen == 0 || n <= o.SequenceLen {
		s.sequences = append(s.sequences, Sequence{IDs: d.ids, Next: Ignored, Document: i})
		return nil
	}
	switch o.Excess {
	case "raise":
		return fmt.Errorf("%s: the document has %d tokens, more than sequence_len %d; raise that, or set excess_length_strategy to truncate, split or drop", d.name, n, o.SequenceLen)
	case "drop":
		c.Dropped++
	case "split":
		s.pieces(i, d.ids, o.SequenceLen, c)
	default:
		c.Truncated++
		c.TokensCutAway += n - o.SequenceLen
		s.sequences = append(s.sequences, Sequence{IDs: d.ids[:o.SequenceLen], Next: Ignored, Document: i})
	}
	return nil
}

// pieces cuts ids every length tokens. The token after a cut is predicted at its end, so that no target is lost but that of
// a last piece of one token, which has been predicted before it.
func (s *Split) pieces(doc int, ids []int32, length int, c *Counts) {
	for start := 0; start < len(ids); start += length {
		end := min(start+length, len(ids))
		if end-start < 2 {
			c.TokensCutAway++
			return
		}
		next := int32(Ignored)
		if end < len(ids) {
			next = ids[end]
		}
		s.sequences = append(s.sequences, Sequence{IDs: ids[start:end:end], Next: next, Document: doc})
	}
}

// concatenate joins all documents to one stream and cuts that.
func (s *Split) concatenate(o Options, c *Counts) {
	eos, hasEOS := o.Tokenizer.EOS()
	total := len(s.documents) // room for EOS
	for _, d := range s.documents {
		total += len(d.ids)
	}
	stream := make([]int32, 0, total)
	starts := make([]int, len(s.documents))
	for i, d := range s.documents {
		starts[i] = len(stream)
		stream = append(stream, d.ids...)
		s.documents[i].ids = stream[starts[i]:len(stream):len(stream)] // the tokens are held once
		if hasEOS && stream[len(stream)-1] != eos {
			stream = append(stream, eos)
		}
	}
	s.pieces(0, stream, o.SequenceLen, c)
	for i := range s.sequences {
		at, found := slices.BinarySearch(starts, i*o.SequenceLen)
		if !found {
			at--
		}
		s.sequences[i].Document = at
	}
}
