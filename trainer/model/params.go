package model

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/trainer/hf"
)

// Tensor is one parameter, row-major; matrices are [out, in], those of experts [1, in, out].
type Tensor[T ops.Float] struct {
	Name  string // as in the model's safetensors file
	Shape []int
	Data  []T
}

// Params are all parameters of a model in a fixed order. The ranks of a process share one Params: they read Data while they
// compute, and an optimizer writes into it in place between steps.
type Params[T ops.Float] struct {
	list  []Tensor[T]
	index map[string]int
}

// NewParams makes the parameters of a model, all zero.
func NewParams[T ops.Float](cfg hf.Config) *Params[T] {
	p := &Params[T]{index: map[string]int{}}
	for _, shape := range cfg.Parameters() {
		p.add(Tensor[T]{Name: shape.Name, Shape: shape.Shape, Data: make([]T, shape.Len())})
	}
	return p
}

func (p *Params[T]) add(t Tensor[T]) {
	p.index[t.Name] = len(p.list)
	p.list = append(p.list, t)
}

// FromHF takes over the tensors of a model folder; float32 ones are shared, not copied.
func FromHF[T ops.Float](cfg hf.Config, tensors map[string]hf.Tensor) (*Params[T], error) {
	p := &Params[T]{index: map[string]int{}}
	for _, want := range cfg.Parameters() {
		t, ok := tensors[want.Name]
		if !ok || len(t.Data) != want.Len() {
			return nil, fmt.Errorf("model: tensor %s has %d entries, the config asks for shape %v; load the weights with the same config", want.Name, len(t.Data), want.Shape)
		}
		data, ok := any(t.Data).([]T)
		if !ok {
			data = make([]T, len(t.Data))
			for i, v := range t.Data {
				data[i] = T(v)
			}
		}
		p.add(Tensor[T]{Name: want.Name, Shape: want.Shape, Data: data})
	}
	return p, nil
}

// Init draws the parameters of a new model as transformers does: matrices, sinks and the router normal with deviation
// cfg.InitializerRange, norms one, or zero where 1 is added to them, biases zero. Each tensor has a stream of its own, so the values depend on seed and name order only.
func Init[T ops.Float](cfg hf.Config, seed int64) *Params[T] {
	p := NewParams[T](cfg)
	for i, t := range p.list {
		switch {
		case strings.HasSuffix(t.Name, "_bias"): // of experts: a matrix
		case len(t.Shape) > 1 || strings.HasSuffix(t.Name, ".sinks") || strings.HasSuffix(t.Name, ".router.bias"):
			random := rand.New(rand.NewPCG(uint64(seed), uint64(i)))
			for j := range t.Data {
				t.Data[j] = T(random.NormFloat64() * cfg.InitializerRange)
			}
		case !strings.HasSuffix(t.Name, ".bias") && !cfg.ZeroCenteredNorms:
			for j := range t.Data {
				t.Data[j] = 1
			}
		}
	}
	return p
}

// All lists the parameters in their order. The list is the Params' own; the tensors may be written between runs.
func (p *Params[T]) All() []Tensor[T] { return p.list }

// Get finds a parameter by name.
func (p *Params[T]) Get(name string) (Tensor[T], bool) {
	i, ok := p.index[name]
	if !ok {
		return Tensor[T]{}, false
	}
	return p.list[i], true
}

// HF are the parameters as package hf saves them, in float32; float32 data is shared.
func (p *Params[T]) HF() []hf.Tensor {
	out := make([]hf.Tensor, len(p.list))
	for i, t := range p.list {
		data, ok := any(t.Data).([]float32)
		if !ok {
			data = make([]float32, len(t.Data))
			for j, v := range t.Data {
				data[j] = float32(v)
			}
		}
		out[i] = hf.Tensor{Name: t.Name, Shape: t.Shape, Data: data}
	}
	return out
}

// check wants exactly the parameters of cfg.
func (p *Params[T]) check(cfg hf.Config) error {
	want := cfg.Parameters()
	if p == nil || len(p.list) != len(want) {
		return fmt.Errorf("model: the parameters are not those of the config (%d tensors); make them with NewParams, Init or FromHF from the same config", len(want))
	}
	for _, w := range want {
		if t, ok := p.Get(w.Name); !ok || len(t.Data) != w.Len() {
			return fmt.Errorf("model: parameter %s has %d entries, the config asks for shape %v; make both from the same config", w.Name, len(t.Data), w.Shape)
		}
	}
	return nil
}
