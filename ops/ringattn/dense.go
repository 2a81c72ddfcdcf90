package ringattn

import "math"

// DenseInputs is one attention problem, token-major: Q [B,T,H,D], K [B,T,K,D], V [B,T,K,Dv], DOut [B,T,H,Dv].
type DenseInputs struct {
	Batch, Tokens, Heads, KVHeads, Dim, ValueDim int
	Scale                                        float64 // 0 means 1/√D
	Causal                                       bool
	Q, K, V                                      []float64
	DOut                                         []float64 // gradient of the output; nil when only the output is wanted
}

// DenseResult has the shapes of the inputs, Out that of DOut; LSE is [B,H,T]. Without DOut the gradients are nil.
type DenseResult struct{ Out, LSE, DQ, DK, DV []float64 }

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
		out: make([]T, in.Batch*in.Tokens*in.Heads*in.ValueDim), lse: make([]T, in.Batch*in.Heads*in.Tokens),
	}
	if in.DOut != nil {
		p.dq, p.dk, p.dv = make([]T, len(in.Q)), make([]T, len(in.K)), make([]T, len(in.V))
	}
	for b := range in.Batch {
		for h := range in.Heads {
			for i := range in.Tokens {
				p.row(b, h, i)
			}
		}
	}
	return DenseResult{
		Out: round[float64](p.out), LSE: round[float64](p.lse),
		DQ: round[float64](p.dq), DK: round[float64](p.dk), DV: round[float64](p.dv),
	}
}

type densePass[T float32 | float64] struct {
	DenseInputs
	q, k, v, dOut, out, lse, dq, dk, dv []T
}

// row computes query row i of head h: its output, and what it gives to the gradients.
func (p *densePass[T]) row(b, h, i int) {
	at := func(x []T, token, head, heads, width int) []T {
		return x[((b*p.Tokens+token)*heads+head)*width:][:width]
	}
	kvHead := h / (p.Heads / p.KVHeads)
	key := func(x []T, j int) []T { return at(x, j, kvHead, p.KVHeads, p.Dim) }
	value := func(x []T, j int) []T { return at(x, j, kvHead, p.KVHeads, p.ValueDim) }
	q, out := at(p.q, i, h, p.Heads, p.Dim), at(p.out, i, h, p.Heads, p.ValueDim)
	seen := p.Tokens
	if p.Causal {
		seen = i + 1
	}

	// pass 1: the scores and their maximum; pass 2: the softmax; pass 3: the output
	prob := make([]T, seen)
	top := T(math.Inf(-1))
	for j := range prob {
		prob[j] = T(p.Scale) * dot(q, key(p.k, j))
		top = max(top, prob[j])
	}
	var sum T
	for j := range prob {
		prob[j] = T(math.Exp(float64(prob[j] - top)))
		sum += prob[j]
	}
	for j := range prob {
		prob[j] /= sum
		axpy(out, prob[j], value(p.v, j))
	}
	p.lse[(b*p.Heads+h)*p.Tokens+i] = top + T(math.Log(float64(sum)))
	if p.dOut == nil {
		return
	}

	// dV = PᵀdO; dS = P∘(dO·Vᵀ - delta), delta = dO·O; dQ = scale·dS·K; dK = scale·dSᵀ·Q
	dOut, dq := at(p.dOut, i, h, p.Heads, p.ValueDim), at(p.dq, i, h, p.Heads, p.Dim)
	delta := dot(dOut, out)
	for j := range prob {
		axpy(value(p.dv, j), prob[j], dOut)
		ds := T(p.Scale) * prob[j] * (dot(dOut, value(p.v, j)) - delta)
		axpy(dq, ds, key(p.k, j))
		axpy(key(p.dk, j), ds, q)
	}
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
