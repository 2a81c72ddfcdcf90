package bench

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// Attention is attention over Seq positions, one sequence. Rings lists ring sizes: 1 calls the kernel itself, on arrays as it wants
// them; more go round a ring of so many ranks in this process, with all that the op does on the way but the graph.
type Attention struct {
	Seq            int
	HeadDim        int
	Heads, KVHeads int
	Causal         bool
	DType          string // float32, float64 or bfloat16
	Rings          []int
	Layout         shard.Layout
}

// AttentionResult is one line: a pass over one ring.
type AttentionResult struct {
	Pass    string       `json:"pass"` // forward or backward
	Device  string       `json:"device"`
	ISA     string       `json:"isa"`
	Seq     int          `json:"seq"`
	HeadDim int          `json:"head_dim"`
	Heads   int          `json:"heads"`
	KVHeads int          `json:"kv_heads"`
	Causal  bool         `json:"causal"`
	DType   string       `json:"dtype"`
	Ring    int          `json:"ring"`
	Layout  shard.Layout `json:"layout"`
	Threads int          `json:"threads"`
	Figures
	BusyOverOne float64 `json:"busy_over_one"` // busy time ÷ that of the kernel alone; 0 where that is not measured
}

// AttentionReport is what a measurement found.
type AttentionReport struct {
	Results  []AttentionResult `json:"results"`
	Ceilings Ceilings          `json:"ceilings"`
}

// Validate reports all fields that cannot be honoured, joined into one error.
func (a Attention) Validate() error {
	errs := []error{a.call(shard.Sharding{}).Validate()}
	if a.DType != bfloat16Name {
		errs = append(errs, checkDType(a.DType))
	}
	if a.Seq < 1 {
		errs = append(errs, fmt.Errorf("bench: a sequence of %d positions: give at least 1", a.Seq))
	}
	if _, err := shard.ParseLayout(string(a.Layout)); err != nil {
		errs = append(errs, fmt.Errorf("bench: %w", err))
	}
	if len(a.Rings) == 0 {
		errs = append(errs, errors.New("bench: no ring sizes: give 1 for the kernel alone"))
	}
	for _, n := range a.Rings {
		if n < 1 {
			errs = append(errs, fmt.Errorf("bench: a ring of %d ranks: give at least 1", n))
		}
	}
	return errors.Join(errs...)
}

// Flops are the operations of the forward and of the backward pass.
func (a Attention) Flops() (forward, backward float64) {
	forward = 4 * float64(a.Seq) * float64(a.Seq) * float64(a.HeadDim) * float64(a.Heads)
	if a.Causal {
		forward /= 2
	}
	return forward, 2.5 * forward
}

// bytes are those of the arrays that the forward and the backward pass read and write: q, k, v and out, lse; those, dOut and the
// three gradients. In bfloat16 k and v take half.
func (a Attention) bytes() (forward, backward float64) {
	size := 4.0
	if a.DType == float64Name {
		size = 8
	}
	read := 2.0
	if a.DType == bfloat16Name {
		read = 1
	}
	rows := float64(a.Seq) * float64(a.Heads)
	q, kv := rows*float64(a.HeadDim), float64(a.Seq)*float64(a.KVHeads)*float64(a.HeadDim)
	return size * (2*q + read*kv + rows), size * (4*q + (read+2)*kv + rows)
}

// mask is nil or causal.
func (a Attention) mask() *mask.Mask {
	if a.Causal {
		return mask.CausalOrder()
	}
	return nil
}

func (a Attention) call(s shard.Sharding) ring.Call {
	return ring.Call{
		Batch: 1, Heads: a.Heads, KVHeads: a.KVHeads, Dim: a.HeadDim, ValueDim: a.HeadDim,
		Scale: 1 / math.Sqrt(max(float64(a.HeadDim), 1)), Mask: a.mask(), BFloat16: a.DType == bfloat16Name, Sharding: s,
	}
}

// Measure times both passes for every ring size, on random normal inputs.
func (a Attention) Measure(ctx context.Context, o Options) (AttentionReport, error) {
	if err := errors.Join(a.Validate(), o.Validate()); err != nil {
		return AttentionReport{}, err
	}
	o.EnsureDefaults()
	find := measureAttention[float32]
	if a.DType == float64Name {
		find = measureAttention[float64]
	}
	figures, c, err := find(ctx, a, o)
	if err != nil {
		return AttentionReport{}, fmt.Errorf("bench: attention: %w", err)
	}
	report := AttentionReport{Ceilings: c}
	for i, f := range figures {
		r := AttentionResult{
			Pass: "forward", Device: "cpu", ISA: a.isa(), Seq: a.Seq, HeadDim: a.HeadDim, Heads: a.Heads, KVHeads: a.KVHeads, Causal: a.Causal,
			DType: a.DType, Ring: a.Rings[i/2], Layout: a.Layout, Threads: o.Threads, Figures: f,
		}
		if i%2 == 1 {
			r.Pass = "backward"
		}
		report.Results = append(report.Results, r)
	}
	compareRings(report.Results)
	return report, nil
}

// isa names the instruction set of the products.
func (a Attention) isa() string {
	if a.DType == bfloat16Name {
		return cpu.BFloat16ISA()
	}
	return cpu.ISA()
}

// compareRings sets busy times against that of the kernel alone.
func compareRings(results []AttentionResult) {
	alone := map[string]float64{}
	for _, r := range results {
		if r.Ring == 1 {
			alone[r.Pass] = r.BusyMS
		}
	}
	for i := range results {
		if r := &results[i]; alone[r.Pass] > 0 {
			r.BusyOverOne = r.BusyMS / alone[r.Pass]
		}
	}
}

// measureAttention returns the figures of forward and backward for each ring in turn.
func measureAttention[T kernel.Float](ctx context.Context, a Attention, o Options) ([]Figures, Ceilings, error) {
	forwardFlops, backwardFlops := a.Flops()
	forwardBytes, backwardBytes := a.bytes()
	forward, backward := cost{forwardFlops, forwardBytes}, cost{backwardFlops, backwardBytes}
	var passes []pass
	for _, n := range a.Rings {
		w, err := newWork[T](a, n)
		if err != nil {
			return nil, Ceilings{}, err
		}
		passes = append(passes, pass{forward, w.forward}, pass{backward, w.backward})
	}
	return measure[T](ctx, o, a.DType, passes)
}
