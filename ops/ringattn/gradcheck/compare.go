package gradcheck

import (
	"math"

	"github.com/ringgrad/ringgrad/ops/ringattn"
)

// Errors maps out, lse, dq, dk, dv to a figure.
type Errors map[string]float64

// Worst is the largest figure.
func (e Errors) Worst() float64 {
	worst := 0.0
	for _, x := range e {
		worst = max(worst, x)
	}
	return worst
}

// incomparable stands for an error that is no number (NaN, or an infinity where there is none), because JSON has none.
const incomparable = math.MaxFloat64

// names of the compared tensors, in the order of reports; the last only where there are sinks.
var names = []string{"out", "lse", "dq", "dk", "dv", "d_sinks"}

func tensors(r ringattn.DenseResult) [][]float64 {
	all := [][]float64{r.Out, r.LSE, r.DQ, r.DK, r.DV}
	if len(r.DSinks) > 0 {
		all = append(all, r.DSinks)
	}
	return all
}

// compare returns the largest difference of each tensor, and the same divided by the expected tensor's largest magnitude.
//
// A query that sees one key has a dQ of exactly 0, and every program gives its own rounding noise for it. A gradient that
// is nothing but that is measured by the largest of the three gradients.
func compare(got, want ringattn.DenseResult) (abs, rel Errors) {
	abs, rel = Errors{}, Errors{}
	g, w := tensors(got), tensors(want)
	gradient := max(magnitude(want.DQ), magnitude(want.DK), magnitude(want.DV))
	if len(g) != len(w) {
		return Errors{"d_sinks": incomparable}, Errors{"d_sinks": incomparable}
	}
	for i := range w {
		name, top := names[i], magnitude(w[i])
		if name[0] == 'd' && top < 1e-9*gradient {
			top = gradient
		}
		abs[name] = difference(g[i], w[i])
		rel[name] = relative(abs[name], top)
	}
	return abs, rel
}

// difference is the largest |got-want|. Equal infinities differ by 0; NaN on either side, different infinities and
// different lengths are incomparable.
func difference(got, want []float64) float64 {
	if len(got) != len(want) {
		return incomparable
	}
	worst := 0.0
	for i, g := range got {
		if g == want[i] { // equal infinities too
			continue
		}
		d := math.Abs(g - want[i])
		if math.IsNaN(d) || math.IsInf(d, 0) {
			return incomparable
		}
		worst = max(worst, d)
	}
	return worst
}

// relative divides an error by the magnitude of what was expected. An error where all should be 0 has no measure and is
// incomparable.
func relative(err, top float64) float64 {
	switch {
	case err == 0 || err == incomparable:
		return err
	case top == 0:
		return incomparable
	}
	return min(err/top, incomparable)
}

func magnitude(x []float64) float64 {
	top := 0.0
	for _, v := range x {
		if v = math.Abs(v); !math.IsInf(v, 0) && v > top {
			top = v
		}
	}
	return top
}

// rms is the root mean square of got-want over that of want: unlike the largest error it hardly depends on luck. Equal infinities are
// left out.
func rms(got, want []float64) float64 {
	if len(got) != len(want) {
		return incomparable
	}
	var diff, norm float64
	for i, w := range want {
		if math.IsInf(w, 0) && got[i] == w {
			continue
		}
		diff += (got[i] - w) * (got[i] - w)
		norm += w * w
	}
	if r := math.Sqrt(diff / norm); !math.IsNaN(r) && !math.IsInf(r, 0) {
		return r
	}
	return incomparable
}
