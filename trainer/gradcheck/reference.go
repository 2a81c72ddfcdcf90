package gradcheck

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/trainer/hf"
	"github.com/ringgrad/ringgrad/trainer/model"
)

// Limits of a difference against another program. transformers keeps RoPE tables and norms in float32 in a float64 model too, so
// float64 is no closer than float32 rounding lets it.
const (
	limit64 = 2e-5
	limit32 = 5e-5
)

// incomparable stands for a difference that is no number, because JSON has none.
const incomparable = math.MaxFloat64

// ModelResult is one model folder in one setting, in the form of `train gradcheck --model --json`.
type ModelResult struct {
	Model        string             `json:"model"`
	Ring         int                `json:"ring"`
	Layout       shard.Layout       `json:"layout"`
	DType        string             `json:"dtype"`
	OK           bool               `json:"ok"`
	Loss         float64            `json:"loss"`
	LossExpected float64            `json:"loss_expected"`
	MaxRel       map[string]float64 `json:"max_rel"` // logits and grad.NAME: largest difference over largest expected magnitude
	Limit        float64            `json:"limit"`   // what max_rel and the loss may differ by
	Error        string             `json:"error,omitempty"`
}

// Worst is the name and the size of the largest difference.
func (r ModelResult) Worst() (name string, rel float64) { return worstOf(r.MaxRel) }

func worstOf(figures map[string]float64) (name string, rel float64) {
	for n, v := range figures {
		if v > rel || name == "" || v == rel && n < name {
			name, rel = n, v
		}
	}
	return name, rel
}

// CheckModel runs the model of a folder in every setting and compares logits, loss and all gradients with its
// reference.safetensors. An error means that the folder could not be used; what could not be run is in its result.
func CheckModel(ctx context.Context, dir string, o Options) ([]ModelResult, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	p, want, err := readReference(dir)
	if err != nil {
		return nil, err
	}
	var results []ModelResult
	for _, s := range o.settings() {
		got, err := evaluate(ctx, p, s)
		if ctx.Err() != nil {
			return results, context.Cause(ctx)
		}
		r := ModelResult{Model: dir, Ring: s.ring, Layout: s.layout, DType: s.dtype, LossExpected: want.loss, Limit: limit64}
		if s.dtype == Float32 {
			r.Limit = limit32
		}
		if err != nil {
			r.Error = err.Error()
		} else {
			r.compare(got, want)
		}
		results = append(results, r)
	}
	return results, nil
}

// compare fills in the figures and the verdict.
func (r *ModelResult) compare(got, want outcome) {
	r.Loss = got.loss
	r.MaxRel = differences(got, want)
	_, worst := r.Worst()
	r.OK = worst <= r.Limit && math.Abs(got.loss-want.loss) <= r.Limit*math.Abs(want.loss)
	if math.IsNaN(got.loss) || math.IsInf(got.loss, 0) {
		r.Loss, r.OK = incomparable, false
	}
}

// differences compares the logits and every gradient that either side has. A gradient that is nothing but rounding, as that of
// queries which see one key, is measured by the largest gradient.
func differences(got, want outcome) map[string]float64 {
	rel := map[string]float64{}
	if want.logits != nil {
		rel["logits"] = difference(got.logits, want.logits, magnitude(want.logits))
	}
	largest := 0.0
	for _, g := range want.grads {
		largest = max(largest, magnitude(g))
	}
	for name, g := range want.grads {
		top := magnitude(g)
		if top < 1e-9*largest {
			top = largest
		}
		rel["grad."+name] = difference(got.grads[name], g, top)
	}
	for name := range got.grads {
		if _, ok := want.grads[name]; !ok {
			rel["grad."+name] = incomparable
		}
	}
	return rel
}

// magnitude is the largest |x|.
func magnitude(x []float64) float64 {
	top := 0.0
	for _, v := range x {
		top = max(top, math.Abs(v))
	}
	return top
}

// difference is the largest |got-want| over top; 0 where got equals want.
func difference(got, want []float64, top float64) float64 {
	if len(got) != len(want) {
		return incomparable
	}
	worst := 0.0
	for i, w := range want {
		d := math.Abs(got[i] - w)
		if !(d < math.Inf(1)) {
			return incomparable
		}
		worst = max(worst, d)
	}
	switch {
	case worst == 0:
		return 0
	case top == 0:
		return incomparable
	}
	return min(worst/top, incomparable)
}

// readReference reads a model folder and what another program computed for it.
func readReference(dir string) (problem, outcome, error) {
	var p problem
	var err error
	if p.cfg, err = hf.ReadConfig(dir); err != nil {
		return p, outcome{}, err
	}
	if p.weights, err = hf.LoadWeights(dir, p.cfg); err != nil {
		return p, outcome{}, err
	}
	path := filepath.Join(dir, "reference.safetensors")
	tensors, _, err := hf.ReadTensors(path)
	if err != nil {
		return p, outcome{}, err
	}
	want, err := readOutcome(&p, tensors)
	if err != nil {
		return p, outcome{}, fmt.Errorf("gradcheck: %s: %w", path, err)
	}
	return p, want, nil
}

func readOutcome(p *problem, tensors map[string]hf.RawTensor) (outcome, error) {
	ids, labels, logits, loss := tensors["input_ids"], tensors["labels"], tensors["logits"], tensors["loss"]
	if len(ids.Shape) != 2 || len(ids.I64) == 0 || !slices.Equal(ids.Shape, labels.Shape) || len(labels.I64) == 0 {
		return outcome{}, fmt.Errorf("input_ids has shape %v and labels %v; both must be whole numbers [B, T]", ids.Shape, labels.Shape)
	}
	if len(loss.F64) != 1 || math.IsNaN(loss.F64[0]) || math.IsInf(loss.F64[0], 0) {
		return outcome{}, errors.New("loss is missing; it must hold one finite number")
	}
	p.batch = shift(ids, labels)
	if p.targets() == 0 {
		return outcome{}, errors.New("no label is left after shifting; the loss is that of nothing")
	}
	if n := p.batch.B * p.batch.T * p.cfg.VocabSize; len(logits.F64) != n {
		return outcome{}, fmt.Errorf("logits has shape %v; it must be [%d, %d, %d]", logits.Shape, p.batch.B, p.batch.T, p.cfg.VocabSize)
	}
	want := outcome{loss: loss.F64[0], logits: logits.F64, grads: map[string][]float64{}}
	for _, parameter := range p.cfg.Parameters() {
		grad, ok := tensors["grad."+parameter.Name]
		if !ok || !slices.Equal(grad.Shape, parameter.Shape) {
			return outcome{}, fmt.Errorf("grad.%s has shape %v; it must be there with %v", parameter.Name, grad.Shape, parameter.Shape)
		}
		want.grads[parameter.Name] = grad.F64
	}
	return want, nil
}

// shift turns labels that stand at their own token into labels that stand at the token before it.
func shift(ids, labels hf.RawTensor) model.Batch {
	b := model.Batch{B: ids.Shape[0], T: ids.Shape[1]}
	for i, id := range ids.I64 {
		label := int64(model.IgnoreLabel)
		if (i+1)%b.T != 0 {
			label = labels.I64[i+1]
		}
		b.IDs, b.Labels = append(b.IDs, int32(id)), append(b.Labels, int32(label))
	}
	return b
}
