package gradcheck

import (
	"context"
	"fmt"
	"math"

	"github.com/ringgrad/ringgrad/dist/shard"
)

// Limits of a difference between W ranks and one. Float32 rounds differently where sums are taken in another order.
const (
	invariance64 = 1e-12
	invariance32 = 1e-5
)

// InvarianceResult compares W ranks with one rank on a small random model without files.
type InvarianceResult struct {
	Ring   int                `json:"ring"`
	Layout shard.Layout       `json:"layout"`
	DType  string             `json:"dtype"`
	Batch  int                `json:"batch"`
	Tokens int                `json:"tokens"`
	OK     bool               `json:"ok"`
	Loss   float64            `json:"loss"`    // relative difference of the loss
	MaxRel map[string]float64 `json:"max_rel"` // of the logits and of grad.NAME
	Limit  float64            `json:"limit"`
	Error  string             `json:"error,omitempty"`
}

// Invariance computes a small random model over every ring and layout and compares loss, logits and all gradients with those of one
// rank: in float64 to 1e-12, in float32 to 1e-5. Two sequences of 29 tokens give uneven shards; 3 tokens give more ranks than
// tokens. The model has grouped queries, normed heads, biases, YaRN and ignored labels.
func Invariance(ctx context.Context, o Options) ([]InvarianceResult, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	cfg, err := tiny()
	if err != nil {
		return nil, err
	}
	var results []InvarianceResult
	for _, size := range [][2]int{{2, 29}, {1, 3}} {
		p := randomProblem(cfg, 1, size[0], size[1])
		rs, err := invariance(ctx, p, o)
		results = append(results, rs...)
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

func invariance(ctx context.Context, p problem, o Options) ([]InvarianceResult, error) {
	want := map[string]outcome{}
	for _, d := range o.DTypes {
		one, err := evaluate(ctx, p, setting{ring: 1, layout: shard.Contiguous, dtype: d})
		if err != nil {
			return nil, fmt.Errorf("gradcheck: the random model on one rank: %w", err)
		}
		want[d] = one
	}
	var results []InvarianceResult
	for _, s := range o.settings() {
		got, err := evaluate(ctx, p, s)
		if ctx.Err() != nil {
			return results, context.Cause(ctx)
		}
		r := InvarianceResult{Ring: s.ring, Layout: s.layout, DType: s.dtype, Batch: p.batch.B, Tokens: p.batch.T, Limit: invariance64}
		if s.dtype == Float32 {
			r.Limit = invariance32
		}
		if err != nil {
			r.Error = err.Error()
		} else {
			r.compare(got, want[s.dtype])
		}
		results = append(results, r)
	}
	return results, nil
}

func (r *InvarianceResult) compare(got, want outcome) {
	r.MaxRel = differences(got, want)
	r.Loss = math.Abs(got.loss-want.loss) / math.Abs(want.loss)
	if math.IsNaN(r.Loss) || math.IsInf(r.Loss, 0) {
		r.Loss = incomparable
	}
	_, worst := worstOf(r.MaxRel)
	r.OK = worst <= r.Limit && r.Loss <= r.Limit
}

// Worst is the name and the size of the largest difference.
func (r InvarianceResult) Worst() (name string, rel float64) { return worstOf(r.MaxRel) }
