package data

import (
	"errors"
	"fmt"
)

// LoaderOptions say how sequences become batches.
type LoaderOptions struct {
	MicroBatch int   // sequences in a batch; 0 means 1
	Seed       int64 // of the order
	Shuffle    bool  // a new order every epoch; otherwise that of the documents
}

// Cursor is a place in the data: the number of whole epochs and the sequences taken of the next one. With the seed it is all
// that a run needs to go on where it was.
type Cursor struct {
	Epoch int `json:"epoch"`
	Index int `json:"index"`
	// Sequences is the length of an epoch when the cursor was taken; 0 if it is not known.
	Sequences int `json:"sequences,omitempty"`
}

// Batch is B sequences of T tokens, row-major [B, T]. Shorter sequences are padded at their end with id 0, which causal
// attention never looks back from, and label Ignored.
type Batch struct {
	IDs    []int32
	Labels []int32 // the next token of each position
	B, T   int
}

// Loader walks through a split, epoch after epoch. Every rank may have its own: the order depends on the seed and the epoch
// alone.
type Loader struct {
	split   *Split
	options LoaderOptions
	cursor  Cursor
	order   []int // of the cursor's epoch; nil until it is needed
}

// NewLoader returns a loader at the beginning of the first epoch.
func NewLoader(split *Split, o LoaderOptions) *Loader {
	if o.MicroBatch == 0 {
		o.MicroBatch = 1
	}
	return &Loader{split: split, options: o, cursor: Cursor{Sequences: split.Len()}}
}

// State returns the place of the next batch.
func (l *Loader) State() Cursor { return l.cursor }

// Restore goes to a place that State returned. The zero Cursor is the beginning.
func (l *Loader) Restore(c Cursor) error {
	n := l.split.Len()
	switch {
	case c.Sequences != 0 && c.Sequences != n:
		return fmt.Errorf("data: the checkpoint was written with %d sequences an epoch, now there are %d; resume with the data and the sequence_len of that run", c.Sequences, n)
	case c.Epoch < 0 || c.Index < 0 || c.Index > n:
		return fmt.Errorf("data: the place epoch %d, sequence %d is outside the data of %d sequences", c.Epoch, c.Index, n)
	}
	c.Sequences = n
	l.cursor, l.order = c, nil
	return nil
}

// Next returns the next batch. A batch that the epoch cannot fill goes on with the next epoch, so that no sequence is left
// out.
func (l *Loader) Next() (Batch, error) {
	if l.split.Len() == 0 {
		return Batch{}, errors.New("data: there is no sequence to load")
	}
	if l.options.MicroBatch < 0 {
		return Batch{}, fmt.Errorf("data: micro_batch_size is %d; it must be at least 1", l.options.MicroBatch)
	}
	rows := make([]Sequence, l.options.MicroBatch)
	longest := 0
	for i := range rows {
		rows[i] = l.take()
		longest = max(longest, len(rows[i].IDs))
	}
	return pack(rows, longest), nil
}

// take returns the next sequence and moves on.
func (l *Loader) take() Sequence {
	if l.cursor.Index == l.split.Len() {
		l.cursor.Epoch, l.cursor.Index, l.order = l.cursor.Epoch+1, 0, nil
	}
	i := l.cursor.Index
	if l.options.Shuffle {
		if l.order == nil {
			l.order = permutation(l.split.Len(), l.options.Seed, uint64(l.cursor.Epoch))
		}
		i = l.order[i]
	}
	l.cursor.Index++
	return l.split.Sequence(i)
}

// pack pads rows to length.
func pack(rows []Sequence, length int) Batch {
	b := Batch{IDs: make([]int32, len(rows)*length), Labels: make([]int32, len(rows)*length), B: len(rows), T: length}
	for i := range b.Labels {
		b.Labels[i] = Ignored
	}
	for i, row := range rows {
		copy(b.IDs[i*length:], row.IDs)
		copy(b.Labels[i*length:], row.Labels())
	}
	return b
}
