package data

import (
	"errors"
	"fmt"
)

// LoaderOptions say how sequences become batches.
type LoaderOptions struct {
	MicroBatch int   // rows in a batch; 0 means 1
	Seed       int64 // of the order
	Shuffle    bool  // a new order every epoch; otherwise that of the documents
	// PackLength, if not 0, makes of a row a pack: several sequences with at most so many tokens together, the documents of the row.
	// Otherwise a row is a sequence.
	PackLength int
}

// Cursor is a place in the data: the number of whole epochs and the rows taken of the next one. With the seed it is all that a run
// needs to go on where it was.
type Cursor struct {
	Epoch int `json:"epoch"`
	Index int `json:"index"`
	// Sequences is the number of sequences of an epoch when the cursor was taken; 0 if it is not known.
	Sequences int `json:"sequences,omitempty"`
	// Packs is the number of rows of this epoch where rows are packs.
	Packs int `json:"packs,omitempty"`
}

// Batch is B sequences of T tokens, row-major [B, T]. Shorter sequences are padded at their end with id 0, which causal
// attention never looks back from, and label Ignored.
//
// A batch of packs is one sequence (B is 1), whatever MicroBatch: Documents are its bounds 0, ..., T. The last document may be padding.
type Batch struct {
	IDs       []int32
	Labels    []int32 // the next token of each position
	B, T      int
	Documents []int // nil without packs
}

// Loader walks through a split, epoch after epoch. Every rank may have its own: the order depends on the seed and the epoch
// alone.
type Loader struct {
	split   *Split
	options LoaderOptions
	cursor  Cursor
	rows    [][]int // the sequences of each row of the cursor's epoch; nil until it is needed
}

// NewLoader returns a loader at the beginning of the first epoch.
func NewLoader(split *Split, o LoaderOptions) *Loader {
	if o.MicroBatch == 0 {
		o.MicroBatch = 1
	}
	return &Loader{split: split, options: o, cursor: Cursor{Sequences: split.Len()}}
}

// State returns the place of the next batch.
func (l *Loader) State() Cursor {
	c := l.cursor
	if l.options.PackLength > 0 {
		c.Packs = len(l.epoch())
	}
	return c
}

// Restore goes to a place that State returned. The zero Cursor is the beginning.
func (l *Loader) Restore(c Cursor) error {
	n := l.split.Len()
	if c.Sequences != 0 && c.Sequences != n {
		return fmt.Errorf("data: the checkpoint was written with %d sequences an epoch, now there are %d; resume with the data and the sequence_len of that run", c.Sequences, n)
	}
	if c.Epoch < 0 || c.Index < 0 || c.Index > n {
		return fmt.Errorf("data: the place epoch %d, sequence %d is outside the data of %d sequences", c.Epoch, c.Index, n)
	}
	packs := c.Packs
	c.Sequences, c.Packs = n, 0
	l.cursor, l.rows = c, nil
	if rows := len(l.epoch()); l.options.PackLength > 0 && (c.Index > rows || packs != 0 && packs != rows) {
		return fmt.Errorf("data: the checkpoint is at pack %d of %d of its epoch, now there are %d; resume with the data and the sequence_len of that run", c.Index, packs, rows)
	}
	return nil
}

// Rows is the number of rows of an epoch, numbered from 0: of sequences, or of packs, of which epochs have more or less.
func (l *Loader) Rows(epoch int) int {
	if l.options.PackLength == 0 {
		return l.split.Len()
	}
	return len(l.deal(epoch))
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
	var sequences []Sequence
	longest := 0
	for range l.options.MicroBatch {
		for _, i := range l.take() {
			sequences = append(sequences, l.split.Sequence(i))
			longest = max(longest, len(l.split.Sequence(i).IDs))
		}
	}
	if n := l.options.PackLength; n > 0 {
		return packed(sequences, n*l.options.MicroBatch), nil
	}
	return pack(sequences, longest), nil
}

// take returns the sequences of the next row and moves on.
func (l *Loader) take() []int {
	if l.cursor.Index == len(l.epoch()) {
		l.cursor.Epoch, l.cursor.Index, l.rows = l.cursor.Epoch+1, 0, nil
	}
	row := l.epoch()[l.cursor.Index]
	l.cursor.Index++
	return row
}

// epoch is the rows of the cursor's epoch.
func (l *Loader) epoch() [][]int {
	if l.rows == nil {
		l.rows = l.deal(l.cursor.Epoch)
	}
	return l.rows
}

// deal makes the rows of an epoch.
func (l *Loader) deal(epoch int) [][]int {
	order := make([]int, l.split.Len())
	if l.options.Shuffle {
		order = permutation(l.split.Len(), l.options.Seed, uint64(epoch))
	} else {
		for i := range order {
			order[i] = i
		}
	}
	rows := make([][]int, len(order))
	if l.options.PackLength == 0 {
		for i := range rows {
			rows[i] = order[i : i+1]
		}
		return rows
	}
	lengths := make([]int, len(order))
	for place, i := range order {
		lengths[place] = len(l.split.Sequence(i).IDs)
	}
	rows = Packs(lengths, l.options.PackLength)
	for _, row := range rows {
		for n, place := range row {
			row[n] = order[place]
		}
	}
	return rows
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
