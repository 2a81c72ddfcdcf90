package bench

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// AttentionOptions are what a result was measured with beyond plain attention, and what follows from its mask; absent where there is
// nothing to say.
type AttentionOptions struct {
	ValueDim        int         `json:"value_dim,omitempty"` // where it is not the head dim
	WindowLeft      *int        `json:"window_left,omitempty"`
	WindowRight     *int        `json:"window_right,omitempty"`
	Documents       int         `json:"documents,omitempty"`
	DocumentLengths []int       `json:"document_lengths,omitempty"`
	Softcap         float64     `json:"softcap,omitempty"`
	ALiBi           bool        `json:"alibi,omitempty"`
	Sinks           bool        `json:"sinks,omitempty"`
	Dropout         float64     `json:"dropout,omitempty"`
	Travel          ring.Travel `json:"travel,omitempty"` // kv or q: what auto has come to
	Ulysses         int         `json:"ulysses,omitempty"`
	InnerRing       int         `json:"inner_ring,omitempty"`
	// Of windows, documents and the balanced layout: pairs that the tiles compute for each visible one, and the most visible pairs
	// of a rank over the mean of the ranks.
	ComputedOverVisible float64 `json:"computed_over_visible,omitempty"`
	LargestRankOverMean float64 `json:"largest_rank_over_mean,omitempty"`
}

// Slopes are those of ALiBi's paper (arXiv 2108.12409), 2^(-8(h+1)/H) for head h.
func Slopes(heads int) []float64 {
	slopes := make([]float64, heads)
	for h := range slopes {
		slopes[h] = math.Exp2(-8 * float64(h+1) / float64(heads))
	}
	return slopes
}

// EqualDocuments are the lengths of n documents of tokens together, as equal as can be.
func EqualDocuments(tokens, n int) ([]int, error) {
	if n < 1 || n > tokens {
		return nil, fmt.Errorf("bench: %d documents in %d tokens: give 1 to %d", n, tokens, tokens)
	}
	lengths := make([]int, n)
	for i := range lengths {
		lengths[i] = (i+1)*tokens/n - i*tokens/n
	}
	return lengths, nil
}

// RandomDocuments are the lengths of n documents of tokens together, log-normal with sigma 1, the same for the same seed.
func RandomDocuments(tokens, n int, seed uint64) ([]int, error) {
	if n < 1 || n > tokens {
		return nil, fmt.Errorf("bench: %d random documents in %d tokens: give 1 to %d", n, tokens, tokens)
	}
	random := rand.New(rand.NewPCG(seed, 0))
	ends, sum := make([]float64, n), 0.0
	for i := range ends {
		sum += math.Exp(random.NormFloat64())
		ends[i] = sum
	}
	lengths, from := make([]int, n), 0
	for i, end := range ends {
		left := n - 1 - i // documents behind, each with a token at least
		to := min(max(int(math.Round(end/sum*float64(tokens))), from+1), tokens-left)
		lengths[i], from = to-from, to
	}
	return lengths, nil
}

// spec is the mask's.
func (a Attention) spec() mask.Spec {
	s := mask.Spec{Causal: a.Causal, Window: a.Window}
	if a.Documents != nil {
		s.CuSeqlens = []int{0}
		for _, n := range a.Documents {
			s.CuSeqlens = append(s.CuSeqlens, s.CuSeqlens[len(s.CuSeqlens)-1]+n)
		}
	}
	return s
}

func (a Attention) mask() (*mask.Mask, error) { return mask.New(a.spec(), a.Seq) }

func (a Attention) validateMask() error {
	var errs []error
	sum := 0
	for i, n := range a.Documents {
		if n < 1 {
			errs = append(errs, fmt.Errorf("bench: document %d has %d tokens: give at least 1", i, n))
		}
		sum += n
	}
	if a.Documents != nil && sum != a.Seq {
		errs = append(errs, fmt.Errorf("bench: documents of %d tokens together in a sequence of %d: give as many", sum, a.Seq))
	}
	if len(errs) == 0 {
		if _, err := a.mask(); err != nil {
			errs = append(errs, fmt.Errorf("bench: %w", err))
		}
	}
	return errors.Join(errs...)
}

// plain reports whether the mask is none or causal order.
func (a Attention) plain() bool { return a.Window == nil && a.Documents == nil }

// visible is the number of visible pairs of a valid mask.
func (a Attention) visible() float64 {
	if a.plain() {
		n := float64(a.Seq) * float64(a.Seq)
		if a.Causal {
			n /= 2
		}
		return n
	}
	m, err := a.mask()
	if err != nil {
		return 0
	}
	if m == nil { // a window without bounds
		return float64(a.Seq) * float64(a.Seq)
	}
	return float64(m.Areas(0, a.Seq, a.Seq)[a.Seq])
}

// options of the results of a ring.
func (a Attention) options(ranks int) (AttentionOptions, error) {
	o := AttentionOptions{
		Documents: len(a.Documents), DocumentLengths: a.Documents, Softcap: a.Softcap, ALiBi: a.ALiBi, Sinks: a.Sinks, Dropout: a.Dropout,
	}
	if d := a.valueDim(); d != a.HeadDim {
		o.ValueDim = d
	}
	if w := a.Window; w != nil {
		o.WindowLeft, o.WindowRight = &w.Left, &w.Right
	}
	m, err := a.mask()
	if err != nil {
		return o, err
	}
	s, err := ring.Deal(a.Layout, a.Seq, ranks, 0, m)
	if err != nil {
		return o, err
	}
	if c := a.call(s, m); ranks > 1 && c.Travel != "" {
		o.Travel = c.Plan().Travel()
	}
	if ranks > 1 {
		o.Ulysses, o.InnerRing = a.Ulysses, a.Inner
	}
	if a.plain() && a.Layout != shard.Balanced {
		return o, nil
	}
	o.ComputedOverVisible, o.LargestRankOverMean = tiles(s, m)
	if ranks == 1 {
		o.LargestRankOverMean = 0
	}
	return o, nil
}

// tiles counts the pairs of a sharding: those computed over those visible, and the most visible ones of a rank over the mean.
func tiles(s shard.Sharding, m *mask.Mask) (computedOverVisible, largestOverMean float64) {
	var computed, visible, largest int64
	for row := range s.Ranks() {
		rows, own := segments(s, row), int64(0)
		for _, g := range rows {
			for i := range g.Count {
				own += int64(m.Count(g.Start+i*g.Stride, s.Tokens()))
			}
		}
		for col := range s.Ranks() {
			computed += cpu.Pairs(kernel.Block{Mask: m, Rows: rows, Cols: segments(s, col)})
		}
		visible, largest = visible+own, max(largest, own)
	}
	return float64(computed) / float64(visible), float64(largest) * float64(s.Ranks()) / float64(visible)
}

func segments(s shard.Sharding, rank int) []kernel.Segment {
	var out []kernel.Segment
	for _, g := range s.Segments(rank) {
		out = append(out, kernel.Segment(g))
	}
	return out
}
