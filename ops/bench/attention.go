package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/dist/trace"
	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// Attention is attention over Seq positions, one sequence. Rings lists ring sizes: 1 calls the kernel itself, on arrays as it wants
// them; more go round a ring of so many ranks in this process, with all that the op does on the way but the graph. What concerns a
// ring alone (Layout, Travel, Ulysses, Inner) is nothing to a ring of 1.
type Attention struct {
	Seq            int
	HeadDim        int
	ValueDim       int // 0: HeadDim
	Heads, KVHeads int

	Causal    bool
	Window    *mask.Window // nil: unbounded
	Documents []int        // lengths of packed documents, Seq together; nil is one

	Softcap float64 // 0 is none
	ALiBi   bool    // with the slopes of the paper, see Slopes
	Sinks   bool    // one a head, drawn at random
	Dropout float64 // probability

	Device  ring.Device // "" is the CPU
	DType   string      // float32, float64 or bfloat16; on other devices than the CPU float32, bfloat16 or float16
	Rings   []int
	Layout  shard.Layout
	Travel  ring.Travel // what goes round the ring; "" is ring.KV
	Ulysses int         // ranks that exchange rows for heads before the ring; 0 or 1 is none
	Inner   int         // ranks of an inner ring of a double ring; 0 or 1 is a single ring

	Against Against // measured in the same rounds
	// Trace, if set, gets what devices did in the last round, for every ring.
	Trace *trace.Recorder
}

// AttentionResult is one line: a pass over one ring.
type AttentionResult struct {
	Pass    string `json:"pass"` // forward or backward
	Device  string `json:"device"`
	ISA     string `json:"isa"`
	Seq     int    `json:"seq"`
	HeadDim int    `json:"head_dim"`
	Heads   int    `json:"heads"`
	KVHeads int    `json:"kv_heads"`
	Causal  bool   `json:"causal"`
	AttentionOptions
	DType   string       `json:"dtype"`
	Ring    int          `json:"ring"`
	Layout  shard.Layout `json:"layout"`
	Threads int          `json:"threads"`
	Figures
	BusyOverOne float64 `json:"busy_over_one"` // busy time ÷ that of the kernel alone; 0 where that is not measured
	*AgainstFigures
}

// AttentionReport is what a measurement found.
type AttentionReport struct {
	Results  []AttentionResult `json:"results"`
	Ceilings Ceilings          `json:"ceilings"`
}

// Validate reports all fields that cannot be honoured, joined into one error.
func (a Attention) Validate() error {
	var errs []error
	if a.ringDType() == "" {
		errs = append(errs, checkDType(a.DType))
	}
	errs = append(errs, a.validateDevice())
	if a.Seq < 1 {
		errs = append(errs, fmt.Errorf("bench: a sequence of %d positions: give at least 1", a.Seq))
	}
	if _, err := shard.ParseLayout(string(a.Layout)); err != nil {
		errs = append(errs, fmt.Errorf("bench: %w", err))
	}
	if len(a.Rings) == 0 {
		errs = append(errs, errors.New("bench: no ring sizes: give 1 for the kernel alone"))
	}
	errs = append(errs, a.validateMask(), a.validateCalls(), a.Against.validate())
	return errors.Join(errs...)
}

// validateCalls has the ring look at each size's call.
func (a Attention) validateCalls() error {
	errs := []error{a.call(shard.Sharding{}, nil).Validate()}
	largest := 1
	for _, n := range a.Rings {
		largest = max(largest, n)
		s, err := shard.New(shard.Contiguous, max(a.Seq, 0), n)
		switch {
		case n < 1:
			err = fmt.Errorf("bench: a ring of %d ranks: give at least 1", n)
		case err == nil && n > 1 && errs[0] == nil:
			err = a.call(s, nil).Validate()
		}
		errs = append(errs, err)
	}
	if single := []int{0, 1}; largest == 1 && (a.Travel != "" || !slices.Contains(single, a.Ulysses) || !slices.Contains(single, a.Inner)) {
		errs = append(errs, fmt.Errorf("bench: travel %q, Ulysses groups of %d and inner rings of %d concern a ring: give a size above 1",
			a.Travel, a.Ulysses, a.Inner))
	}
	return errors.Join(errs...)
}

// Flops are the operations of the forward and of the backward pass: 4·D·H forward for each visible pair where keys and values are
// both D wide, 2.5 times that backward. Causal order leaves half of all pairs, by convention the diagonal too.
func (a Attention) Flops() (forward, backward float64) {
	pairs := a.visible() * float64(a.Heads)
	d, dv := float64(a.HeadDim), float64(a.valueDim())
	return 2 * pairs * (d + dv), 2 * pairs * (3*d + 2*dv)
}

// bytes are those of the arrays that the forward and the backward pass read and write: q, k, v and out, lse; those, dOut and the
// three gradients. In bfloat16 k and v take half.
func (a Attention) bytes() (forward, backward float64) {
	size := 4.0
	if a.DType == float64Name {
		size = 8
	}
	share := 1.0
	if a.ringDType() != "" {
		share = 0.5
	}
	rows, both := float64(a.Seq)*float64(a.Heads), float64(a.HeadDim+a.valueDim())
	q, kv := rows*both, float64(a.Seq)*float64(a.KVHeads)*both // q with out, k with v
	return size * (q + share*kv + rows), size * (2*q + (share+1)*kv + rows)
}

func (a Attention) valueDim() int {
	if a.ValueDim != 0 {
		return a.ValueDim
	}
	return a.HeadDim
}

// call is that of a sharding, or of a ring of one for the zero Sharding.
func (a Attention) call(s shard.Sharding, m *mask.Mask) ring.Call {
	c := ring.Call{
		Batch: 1, Heads: a.Heads, KVHeads: a.KVHeads, Dim: a.HeadDim, ValueDim: a.valueDim(),
		Scale: 1 / math.Sqrt(max(float64(a.HeadDim), 1)), Mask: m, Softcap: a.Softcap, Sinks: a.Sinks, Device: a.Device,
		Dropout: ring.Dropout{P: a.Dropout, Seed: dropoutSeed}, DType: a.ringDType(), Sharding: s,
	}
	if a.ALiBi {
		c.Slopes = Slopes(a.Heads)
	}
	if s.Ranks() > 1 {
		c.Travel, c.Ulysses, c.Inner = a.Travel, a.Ulysses, a.Inner
	}
	return c
}

// ringDType is the arithmetic that is narrower than the arrays.
func (a Attention) ringDType() ring.DType {
	if d := ring.DType(a.DType); d == ring.BFloat16 || d == ring.Float16 {
		return d
	}
	return ""
}

// validateDevice refuses what only the CPU has, and traces of it, which has none.
func (a Attention) validateDevice() error {
	switch {
	case a.Device.OnCPU() && a.Trace != nil:
		return errors.New("bench: a trace is of what devices do: give device cuda or sim with it")
	case !a.Device.OnCPU() && a.DType == float64Name:
		return fmt.Errorf("bench: dtype %s on device %s: float64 runs on the CPU; give float32, bfloat16 or float16", a.DType, a.Device)
	case !a.Device.OnCPU() && a.Against.What != "":
		return fmt.Errorf("bench: against %s on device %s: that is measured on the CPU; leave it out", a.Against.What, a.Device)
	}
	return nil
}

// Measure times both passes for every ring size, on random normal inputs.
func (a Attention) Measure(ctx context.Context, o Options) (AttentionReport, error) {
	if err := errors.Join(a.Validate(), o.Validate()); err != nil {
		return AttentionReport{}, err
	}
	o.EnsureDefaults()
	if !a.Device.OnCPU() {
		return a.measureDevice(ctx, o)
	}
	find := measureAttention[float32]
	if a.DType == float64Name {
		find = measureAttention[float64]
	}
	found, c, err := find(ctx, a, o)
	if err != nil {
		return AttentionReport{}, fmt.Errorf("bench: attention: %w", err)
	}
	report := AttentionReport{Ceilings: c}
	for i, f := range found {
		n := a.Rings[i/2]
		options, err := a.options(n)
		if err != nil {
			return AttentionReport{}, fmt.Errorf("bench: attention: %w", err)
		}
		r := AttentionResult{
			Pass: "forward", Device: "cpu", ISA: a.isa(), Seq: a.Seq, HeadDim: a.HeadDim, Heads: a.Heads, KVHeads: a.KVHeads, Causal: a.Causal,
			AttentionOptions: options, DType: a.DType, Ring: n, Layout: a.Layout, Threads: o.Threads, Figures: f.Figures, AgainstFigures: f.against,
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

// found is a pass's figures, and those of what it was measured against, if anything.
type found struct {
	Figures
	against *AgainstFigures
}

// measureAttention returns the figures of forward and backward for each ring in turn. What they are measured against runs right after
// each.
func measureAttention[T kernel.Float](ctx context.Context, a Attention, o Options) ([]found, Ceilings, error) {
	var passes []pass
	for _, n := range a.Rings {
		both, err := passesOf[T](a, n)
		if err != nil {
			return nil, Ceilings{}, err
		}
		if a.Against.What == "" {
			passes = append(passes, both[0], both[1])
			continue
		}
		other, err := passesOf[T](a.other(), n)
		if err != nil {
			return nil, Ceilings{}, err
		}
		passes = append(passes, both[0], other[0], both[1], other[1])
	}
	measured, ceilings, err := measure[T](ctx, o, a.DType, passes)
	if err != nil {
		return nil, Ceilings{}, err
	}
	var out []found
	for i := 0; i < len(measured); i++ {
		f := found{Figures: measured[i].Figures}
		if a.Against.What != "" {
			f.against = a.compare(measured[i], measured[i+1])
			i++
		}
		out = append(out, f)
	}
	return out, ceilings, nil
}

// passesOf are forward and backward over one ring.
func passesOf[T kernel.Float](a Attention, n int) ([2]pass, error) {
	w, err := newWork[T](a, n)
	if err != nil {
		return [2]pass{}, err
	}
	forwardFlops, backwardFlops := a.Flops()
	forwardBytes, backwardBytes := a.bytes()
	return [2]pass{{cost{forwardFlops, forwardBytes}, w.forward}, {cost{backwardFlops, backwardBytes}, w.backward}}, nil
}
