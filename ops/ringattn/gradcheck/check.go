package gradcheck

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// Options choose what a check runs. Empty lists mean what EnsureDefaults says.
type Options struct {
	Rings   []int          // ring sizes W
	Layouts []shard.Layout // who holds which positions
	DTypes  []string       // "float64", "float32"; of golden files also "bfloat16" and, on GPUs, "float16"
	Device  ring.Device    // what computes; others than the CPU know no float64
	// Ways through the ring. One that does not divide a ring or the heads of a case is an error of that case, unless Ways has another
	// that suits them all, with neither Ulysses groups nor inner rings: then it is left out.
	Ways []Way
	// Quick and Full make Suite smaller (a few seconds) or larger (minutes). They exclude each other.
	Quick, Full bool
}

// EnsureDefaults sets all three layouts, the rings 1, 2, 3, 4, 5, 7, 8, and float64, or what the device has.
func (o *Options) EnsureDefaults() {
	if o.few() {
		o.ensureFew()
	}
	if len(o.Rings) == 0 {
		o.Rings = []int{1, 2, 3, 4, 5, 7, 8}
	}
	if len(o.Layouts) == 0 {
		o.Layouts = []shard.Layout{shard.Contiguous, shard.Zigzag, shard.Striped}
	}
	if len(o.DTypes) == 0 {
		o.DTypes = []string{o.exact()}
	}
	if len(o.Ways) == 0 {
		o.Ways = []Way{{}}
	}
}

// few reports whether runs cost so much that there should be few: on devices each takes whole tiles of 64 queries by 64 keys, and in the
// simulator instruction by instruction.
func (o Options) few() bool { return o.exact() != Float64 && !o.Full }

func (o *Options) ensureFew() {
	if len(o.Rings) == 0 {
		o.Rings = []int{1, 3}
		if o.Quick {
			o.Rings = []int{3}
		}
	}
	if len(o.Layouts) == 0 {
		o.Layouts = []shard.Layout{shard.Zigzag}
	}
}

// fewer is the last of a list, where the most comes together, if there should be few runs.
func fewer[T any](o Options, list []T) []T {
	if o.few() && o.Quick {
		return list[len(list)-1:]
	}
	return list
}

// Validate reports every option that no run could honour, joined into one error.
func (o Options) Validate() error {
	var errs []error
	for _, w := range o.Rings {
		if w < 1 || w > ringattn.MaxDevices {
			errs = append(errs, fmt.Errorf("gradcheck: ring size %d: give 1 to %d", w, ringattn.MaxDevices))
		}
	}
	for _, l := range o.Layouts {
		if _, err := shard.ParseLayout(string(l)); err != nil {
			errs = append(errs, fmt.Errorf("gradcheck: layout: %w", err))
		}
	}
	for _, w := range o.Ways {
		if err := w.validate(); err != nil {
			errs = append(errs, err)
		}
	}
	errs = append(errs, o.checkArithmetic())
	if o.exact() != Float64 && slices.Contains(o.DTypes, Float64) {
		errs = append(errs, fmt.Errorf("gradcheck: dtype %s on device %s: float64 runs on the CPU; give %s", Float64, o.Device, Float32))
	}
	if o.Quick && o.Full {
		errs = append(errs, errors.New("gradcheck: quick and full exclude each other"))
	}
	return errors.Join(errs...)
}

// checkArithmetic reports a device that is not there, or a dtype that it lacks.
func (o Options) checkArithmetic() error {
	if err := ring.CheckArithmetic(o.Device, ""); err != nil {
		return fmt.Errorf("gradcheck: %w", err)
	}
	var errs []error
	for _, d := range o.DTypes {
		switch {
		case narrow(d):
			if err := ring.CheckArithmetic(o.Device, ring.DType(d)); err != nil {
				errs = append(errs, fmt.Errorf("gradcheck: %w", err))
			}
		case d != Float64 && d != Float32:
			errs = append(errs, fmt.Errorf("gradcheck: dtype %q: give %s or %s, or with golden files %s or %s", d, Float64, Float32, BFloat16, Float16))
		}
	}
	return errors.Join(errs...)
}

// RefuseNarrow is the error of checks whose limits say nothing about 16 bits.
func (o Options) RefuseNarrow() error {
	if i := slices.IndexFunc(o.DTypes, narrow); i >= 0 {
		return fmt.Errorf("gradcheck: dtype %q: give %s or %s; 16 bits are checked with golden files alone", o.DTypes[i], Float64, Float32)
	}
	return nil
}

// exact is the most exact type that the device has.
func (o Options) exact() string {
	if o.Device.OnCPU() {
		return Float64
	}
	return Float32
}

// Report is the outcome of CheckGolden, in the form of `train gradcheck --golden --json`.
type Report struct {
	OK    bool         `json:"ok"`
	Cases []CaseReport `json:"cases"`
}

// CaseReport is one golden case in one setup.
type CaseReport struct {
	Case   string       `json:"case"`
	Ring   int          `json:"ring"`
	Layout shard.Layout `json:"layout"`
	DType  string       `json:"dtype"`
	Device ring.Device  `json:"device,omitempty"`
	Way
	OK     bool    `json:"ok"`
	MaxAbs Errors  `json:"max_abs,omitempty"` // largest |error| of each tensor
	MaxRel Errors  `json:"max_rel,omitempty"` // the same divided by the expected tensor's largest magnitude
	Sends  *Sends  `json:"sends,omitempty"`
	Error  string  `json:"error,omitempty"` // why the case could not run
	Limit  float64 `json:"limit,omitempty"` // what max_rel may be
}

// CheckGolden runs every golden file that the paths name (files, or folders of them) through the op for every
// combination of ring, layout, dtype and way. What is wrong with one case, a file that cannot be read too, is said in
// the report; an error is returned for bad options, missing paths and an ended context.
func CheckGolden(ctx context.Context, paths []string, o Options) (Report, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return Report{}, err
	}
	files, err := goldenFiles(paths)
	if err != nil {
		return Report{}, err
	}
	if len(files) == 0 {
		return Report{}, errors.New("gradcheck: golden: no file given")
	}
	r := Report{OK: true}
	for _, f := range files {
		g, err := ReadGolden(f)
		hot := err == nil && hotLogits(g.DenseInputs)
		for _, s := range o.setups() {
			if err == nil && o.leavesOut(s, g.DenseInputs) {
				continue
			}
			if ctx.Err() != nil {
				return r, context.Cause(ctx)
			}
			c := CaseReport{Case: caseName(f), Ring: s.Ring, Layout: s.Layout, DType: s.DType, Device: s.Device, Way: s.Way}
			if err != nil {
				c.Error = err.Error()
			} else {
				c.check(ctx, g, s, hot)
			}
			r.OK = r.OK && c.OK
			r.Cases = append(r.Cases, c)
		}
	}
	return r, nil
}

func (o Options) setups() (all []setup) {
	for _, d := range o.DTypes {
		for _, l := range o.Layouts {
			for _, w := range o.Rings {
				for _, way := range o.Ways {
					all = append(all, setup{w, l, d, way, o.Device})
				}
			}
		}
	}
	return all
}

// leavesOut reports whether a setup does not suit a problem and need not.
func (o Options) leavesOut(s setup, in ringattn.DenseInputs) bool {
	return !s.fits(s.Ring, in) && slices.ContainsFunc(o.Ways, Way.single)
}

func (c *CaseReport) check(ctx context.Context, g Golden, s setup, hot bool) {
	got, sends, err := attend(ctx, g.DenseInputs, s)
	if err != nil {
		c.Error = err.Error()
		return
	}
	c.Sends = &sends
	c.MaxAbs, c.MaxRel = compare(got, g.Want)
	c.Limit = limit(s.DType, hot)
	if g.Float32 && s.DType == Float64 {
		c.Limit = limit(Float32, hot)
	}
	c.OK = c.MaxRel.Worst() <= c.Limit
}

// limit is what an error may be, relative to the largest entry of its tensor. In 16 bits the rounding of queries, keys, values and
// probabilities decides; a score's grows with the score.
func limit(dtype string, hot bool) float64 {
	switch {
	case dtype == BFloat16 && hot:
		return 0.15
	case dtype == BFloat16:
		return 0.03
	case dtype == Float16 && hot:
		return 0.02
	case dtype == Float16:
		return 0.004
	case dtype == Float32 && hot:
		return 1e-3
	case dtype == Float32:
		return 2e-5
	case hot:
		return 1e-10
	}
	return 1e-12
}

// hotScore separates mild logits, which reach 10 in a large case, from hot ones of standard deviation 12. The rounding of a
// score grows with the score, and exp turns it into a relative error of the probability.
const hotScore = 25

// hotLogits reports whether any visible score is so large.
func hotLogits(in ringattn.DenseInputs) bool {
	if in.Scale == 0 {
		in.Scale = 1 / math.Sqrt(float64(in.Dim))
	}
	group := in.Heads / in.KVHeads
	at := func(x []float64, tokens, b, t, h, heads int) []float64 {
		return x[((b*tokens+t)*heads+h)*in.Dim:][:in.Dim]
	}
	visible := in.Visible()
	for b := range in.Batch {
		for h := range in.Heads {
			for i := range in.Queries() {
				q := at(in.Q, in.Queries(), b, i, h, in.Heads)
				for j := range in.Tokens {
					k := at(in.K, in.Tokens, b, j, h/group, in.KVHeads)
					if visible(i, j) && math.Abs(in.Scale*dot(q, k)) > hotScore {
						return true
					}
				}
			}
		}
	}
	return false
}

func dot(x, y []float64) (sum float64) {
	for i := range x {
		sum += x[i] * y[i]
	}
	return sum
}
