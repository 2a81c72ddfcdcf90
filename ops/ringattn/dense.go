package ringattn

import (
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/mask"
)

// DenseInputs is one attention problem, token-major: Q [B,S,H,D], K [B,T,K,D], V [B,T,K,Dv], DOut [B,S,H,Dv], with S = T but for
// chunks. Options mean what those of Config do.
type DenseInputs struct {
	Batch, Tokens, Heads, KVHeads, Dim, ValueDim int
	Scale                                        float64 // 0 means 1/√D
	Causal                                       bool
	Window                                       *mask.Window
	CuSeqlens                                    []int
	Mask                                         []mask.Rectangle
	Softcap                                      float64
	ALiBiSlopes, Sinks                           []float64 // [H]
	Dropout                                      float64
	DropoutSeed, Step                            uint64
	Layer                                        int
	Chunk                                        *Chunk // with Len, the number S of queries
	Q, K, V                                      []float64
	DOut                                         []float64 // gradient of the output; nil when only the output is wanted
}

// Queries is S, how many queries there are.
func (in DenseInputs) Queries() int {
	if in.Chunk != nil {
		return in.Chunk.Len
	}
	return in.Tokens
}

// position is that of query i among the keys.
func (in DenseInputs) position(i int) int {
	if in.Chunk != nil {
		return in.Chunk.Offset + i
	}
	return i
}

// Visible returns whether query i sees key j, by definition.
func (in DenseInputs) Visible() func(i, j int) bool {
	spec := mask.Spec{Causal: in.Causal, Window: in.Window, CuSeqlens: in.CuSeqlens, Rectangles: in.Mask}
	return func(i, j int) bool { return spec.Visible(in.position(i), j) }
}

// Config sets the options of c that a problem has.
func (in DenseInputs) Config(c Config) Config {
	c.Causal, c.Window, c.CuSeqlens, c.Mask, c.SoftmaxScale, c.Softcap = in.Causal, in.Window, in.CuSeqlens, in.Mask, in.Scale, in.Softcap
	c.ALiBiSlopes, c.Dropout, c.DropoutSeed, c.Layer, c.Chunk = in.ALiBiSlopes, in.Dropout, in.DropoutSeed, in.Layer, in.Chunk
	return c
}

// DenseResult has the shapes of the inputs, Out that of DOut; LSE is [B,H,S]. Without DOut the gradients are nil, and without sinks
// theirs.
type DenseResult struct{ Out, LSE, DQ, DK, DV, DSinks []float64 }

// Dense is softmax(scale·QKᵀ)V and its gradients by their definition, in float64 and with three nested loops. Everything
// else in this module is checked against it: it stays as simple as it is.
func Dense(in DenseInputs) DenseResult { return dense[float64](in) }

// Dense32 is Dense with every number rounded to float32, inputs too: what a plain float32 program computes, and the
// yardstick of the float32 error of the ring.
func Dense32(in DenseInputs) DenseResult { return dense[float32](in) }

func dense[T float32 | float64](in DenseInputs) DenseResult {
	if in.Scale == 0 {
		in.Scale = 1 / math.Sqrt(float64(in.Dim))
	}
	p := densePass[T]{
		DenseInputs: in, q: round[T](in.Q), k: round[T](in.K), v: round[T](in.V), dOut: round[T](in.DOut),
		out: make([]T, in.Batch*in.Queries()*in.Heads*in.ValueDim), lse: make([]T, in.Batch*in.Heads*in.Queries()),
		sinks: round[T](in.Sinks), threshold: kernel.NewThreshold(in.Dropout), visible: in.Visible(),
	}
	if in.DOut != nil {
		p.dq, p.dk, p.dv, p.dSinks = make([]T, len(in.Q)), make([]T, len(in.K)), make([]T, len(in.V)), make([]T, len(in.Sinks))
	}
	for b := range in.Batch {
		for h := range in.Heads {
			for i := range in.Queries() {
				p.row(b, h, i)
			}
		}
	}
	return DenseResult{
		Out: round[float64](p.out), LSE: round[float64](p.lse),
		DQ: round[float64](p.dq), DK: round[float64](p.dk), DV: round[float64](p.dv), DSinks: round[float64](p.dSinks),
	}
}

type densePass[T float32 | float64] struct {
	DenseInputs
	q, k, v, dOut, out, lse, dq, dk, dv []T
	sinks, dSinks                       []T
	threshold                           uint32 // of dropout
	visible                             func(i, j int) bool
}

// row computes query row i of head h: its output, and what it gives to the gradients.
func (p *densePass[T]) row(b, h, i int) {
	at := func(x []T, tokens, token, head, heads, width int) []T {
		return x[((b*tokens+token)*heads+head)*width:][:width]
	}
	kvHead := h / (p.Heads / p.KVHeads)
	key := func(x []T, j int) []T { return at(x, p.Tokens, j, kvHead, p.KVHeads, p.Dim) }
	value := func(x []T, j int) []T { return at(x, p.Tokens, j, kvHead, p.KVHeads, p.ValueDim) }
	q, out := at(p.q, p.Queries(), i, h, p.Heads, p.Dim), at(p.out, p.Queries(), i, h, p.Heads, p.ValueDim)

	// pass 1: the keys, their scores and the maximum; pass 2: the softmax; pass 3: the output
	var keys []int
	var prob, slope []T
	top := T(math.Inf(-1))
	for j := range p.Tokens {
		if p.visible(i, j) {
			s, d := p.score(dot(q, key(p.k, j)), h, i, j)
			keys, prob, slope = append(keys, j), append(prob, s), append(slope, d)
			top = max(top, s)
		}
	}
	var sum, sink T
	if p.sinks != nil && keys != nil {
		top = max(top, p.sinks[h])
		sink = T(math.Exp(float64(p.sinks[h] - top)))
		sum = sink
	}
	for n := range prob {
		prob[n] = T(math.Exp(float64(prob[n] - top)))
		sum += prob[n]
	}
	for n, j := range keys {
		prob[n] /= sum
		axpy(out, prob[n]*p.kept(b, h, i, j), value(p.v, j))
	}
	p.lse[(b*p.Heads+h)*p.Queries()+i] = top + T(math.Log(float64(sum)))
	if p.dOut == nil {
		return
	}

	// dV = PᵀdO; dS = P∘(dO·Vᵀ - delta), delta = dO·O; dQ = scale·dS·K; dK = scale·dSᵀ·Q
	dOut, dq := at(p.dOut, p.Queries(), i, h, p.Heads, p.ValueDim), at(p.dq, p.Queries(), i, h, p.Heads, p.Dim)
	delta := dot(dOut, out)
	for n, j := range keys {
		kept := p.kept(b, h, i, j)
		axpy(value(p.dv, j), prob[n]*kept, dOut)
		ds := T(p.Scale) * slope[n] * prob[n] * (kept*dot(dOut, value(p.v, j)) - delta)
		axpy(dq, ds, key(p.k, j))
		axpy(key(p.dk, j), ds, q)
	}
	if p.sinks != nil && keys != nil {
		p.dSinks[h] -= sink / sum * delta
	}
}

// score is what enters the softmax for a product of query i and key j of head h, and its derivative by the scaled product.
func (p *densePass[T]) score(product T, h, i, j int) (s, slope T) {
	s, slope = T(p.Scale)*product, 1
	if p.Softcap != 0 {
		t := T(math.Tanh(float64(s / T(p.Softcap))))
		s, slope = T(p.Softcap)*t, 1-t*t
	}
	if p.ALiBiSlopes != nil {
		s -= T(p.ALiBiSlopes[h] * math.Abs(float64(p.position(i)-j)))
	}
	return s, slope
}

// kept is what dropout multiplies the probability of a pair with: 0 or 1/(1-p).
func (p *densePass[T]) kept(b, h, i, j int) T {
	if p.threshold == 0 {
		return 1
	}
	key := kernel.DropoutKey(p.DropoutSeed, p.Step, p.Layer, b*p.Heads+h)
	if !kernel.Kept(kernel.QueryWord(key, p.position(i)), kernel.KeyWord(key, j), p.threshold) {
		return 0
	}
	return T(kernel.Dropout{Threshold: p.threshold}.Scale())
}

func dot[T float32 | float64](x, y []T) (sum T) {
	for i := range x {
		sum += x[i] * y[i]
	}
	return sum
}

func axpy[T float32 | float64](y []T, a T, x []T) {
	for i := range x {
		y[i] += a * x[i]
	}
}

func round[T, U float32 | float64](x []U) []T {
	if x == nil {
		return nil
	}
	out := make([]T, len(x))
	for i := range x {
		out[i] = T(x[i])
	}
	return out
}
