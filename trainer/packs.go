package trainer

import (
	"math"

	"github.com/ringgrad/ringgrad/trainer/data"
)

// heldBack is at the beginning of the held-back data: one sequence, or one pack, a batch.
func (r *run) heldBack() *data.Loader {
	return data.NewLoader(r.data.Val, data.LoaderOptions{MicroBatch: 1, PackLength: r.packLength()})
}

// packLength is the most tokens of a pack; 0 without sample_packing.
func (r *run) packLength() int {
	if !r.cfg.SamplePacking {
		return 0
	}
	return r.cfg.SequenceLen
}

// rows is how many sequences, or packs, so many epochs have.
func (r *run) rows(epochs float64) float64 {
	l := r.loader()
	if !r.cfg.SamplePacking {
		return epochs * float64(l.Rows(0))
	}
	whole, part := math.Modf(epochs)
	n := part * float64(l.Rows(int(whole)))
	for epoch := range int(whole) {
		n += float64(l.Rows(epoch))
	}
	return n
}

// notePacks tells how well packs are filled.
func (r *run) notePacks() {
	if !r.cfg.SamplePacking {
		return
	}
	for _, part := range []struct {
		name string
		rows int
		of   *data.Split
	}{{"the first epoch", r.loader().Rows(0), r.data.Train}, {"evaluation", r.heldBack().Rows(0), r.data.Val}} {
		if part.rows > 0 {
			fill := float64(part.of.Tokens()) / float64(part.rows*r.cfg.SequenceLen)
			r.note("packed for %s: %d sequences in %d packs of %d tokens, %.1f %% full", part.name, part.of.Len(), part.rows, r.cfg.SequenceLen, 100*fill)
		}
	}
}
