package gradcheck

import (
	"errors"

	"github.com/ringgrad/ringgrad/dist/shard"
	attention "github.com/ringgrad/ringgrad/ops/ringattn/gradcheck"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// The element types a model can be computed in.
const (
	Float64 = attention.Float64
	Float32 = attention.Float32
)

// Options choose the combinations that a check runs. Empty lists mean what EnsureDefaults says.
type Options struct {
	Rings   []int // ring sizes W
	Layouts []shard.Layout
	DTypes  []string
	Device  ring.Device // of attention; others than the CPU know no float64
}

// EnsureDefaults sets the rings 1, 2, 3, 4, 8, the three layouts that are formulas, and both types, or what the device has.
func (o *Options) EnsureDefaults() {
	if len(o.Rings) == 0 {
		o.Rings = []int{1, 2, 3, 4, 8}
	}
	if len(o.Layouts) == 0 {
		o.Layouts = []shard.Layout{shard.Contiguous, shard.Zigzag, shard.Striped}
	}
	if len(o.DTypes) == 0 {
		o.DTypes = []string{Float64, Float32}
		if !o.Device.OnCPU() {
			o.DTypes = []string{Float32}
		}
	}
}

// Validate reports every option that no run could honour, joined into one error.
func (o Options) Validate() error {
	a := attention.Options{Rings: o.Rings, Layouts: o.Layouts, DTypes: o.DTypes, Device: o.Device}
	return errors.Join(a.Validate(), a.RefuseNarrow())
}

// setting is one combination.
type setting struct {
	ring   int
	layout shard.Layout
	dtype  string
	device ring.Device
}

// settings lists all combinations, the types first.
func (o Options) settings() []setting {
	var all []setting
	for _, d := range o.DTypes {
		for _, l := range o.Layouts {
			for _, w := range o.Rings {
				all = append(all, setting{w, l, d, o.Device})
			}
		}
	}
	return all
}
