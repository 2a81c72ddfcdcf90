package kerneltest

import (
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// result is everything attention yields over the whole sequence, head-major:
// out [H,T,Dv], lse [H,T], dq [H,T,D], dk [K,T,D], dv [K,T,Dv].
type result[T kernel.Float] struct{ out, lse, dq, dk, dv []T }

func newResult[T kernel.Float](s shape) result[T] {
	return result[T]{
		out: make([]T, s.heads*s.tokens*s.valueDim),
		lse: make([]T, s.heads*s.tokens),
		dq:  make([]T, s.heads*s.tokens*s.dim),
		dk:  make([]T, s.kvHeads*s.tokens*s.dim),
		dv:  make([]T, s.kvHeads*s.tokens*s.valueDim),
	}
}

// dense computes attention and its gradients from the definition, one query at a
// time, in arithmetic A. In float64 it is the reference; in float32 it is the
// plain computation whose error a float32 kernel is measured against. A pair
// that the mask hides is never touched, so not even a NaN passes through it.
func dense[A, T kernel.Float](p problem[T]) result[A] {
	q, k, v, dOut := as[A](p.q), as[A](p.k), as[A](p.v), as[A](p.dOut)
	r := newResult[A](p.shape)
	for h := range p.heads {
		kv := h / (p.heads / p.kvHeads)
		for i := range p.tokens {
			at := h*p.tokens + i
			row := denseRow[A]{
				q: line(q, at, p.dim), dOut: line(dOut, at, p.valueDim), scale: A(p.scale),
				k: line(k, kv, p.tokens*p.dim), v: line(v, kv, p.tokens*p.valueDim),
				out: line(r.out, at, p.valueDim), dq: line(r.dq, at, p.dim),
				dk: line(r.dk, kv, p.tokens*p.dim), dv: line(r.dv, kv, p.tokens*p.valueDim),
			}
			for j := range p.tokens {
				if p.visible(i, j) {
					row.keys = append(row.keys, j)
				}
			}
			if isFloat32[A]() {
				row.narrow = p.narrow
			}
			row.options, row.head, row.at = p.options, h, i
			r.lse[at] = row.forward()
			row.backward()
		}
	}
	return r
}

// denseRow is one query of one head: its probabilities, output and gradients.
type denseRow[A kernel.Float] struct {
	q, dOut, k, v   []A
	scale           A
	keys            []int // that it sees
	probs           []A   // by key seen, before dropout
	slopes          []A   // of the softcap
	out, dq, dk, dv []A
	narrow          narrow // what is multiplied is of this type
	options         *options
	head, at        int
}

// factor is x as it enters a product.
func (r *denseRow[A]) factor(x A) A {
	return rounded(r.narrow, x)
}

// score is the logit of key j, and the slope of the softcap there.
func (r *denseRow[A]) score(j int) (s, slope A) {
	s, slope = r.scale*dot(r.q, line(r.k, j, len(r.q))), 1
	o := r.options
	if o == nil {
		return s, slope
	}
	if o.softcap > 0 {
		t := A(math.Tanh(float64(s / A(o.softcap))))
		s, slope = A(o.softcap)*t, 1-t*t
	}
	if o.alibi {
		s -= A(o.slope(r.head) * math.Abs(float64(r.at-j)))
	}
	return s, slope
}

// kept is what dropout multiplies the probability of key j with.
func (r *denseRow[A]) kept(j int) A {
	if r.options == nil || r.options.dropout == 0 {
		return 1
	}
	d := r.options.drops(r.head + 1)
	key := d.Keys[r.head]
	if !kernel.Kept(kernel.QueryWord(key, r.at), kernel.KeyWord(key, j), d.Threshold) {
		return 0
	}
	return A(d.Scale())
}

// forward fills probs and out and returns the log-sum-exp.
func (r *denseRow[A]) forward() A {
	highest := A(math.Inf(-1))
	for _, j := range r.keys {
		s, slope := r.score(j)
		r.probs, r.slopes = append(r.probs, s), append(r.slopes, slope)
		highest = max(highest, s)
	}
	sum := A(0)
	if r.options != nil && r.options.sinks && len(r.keys) > 0 {
		sink := A(r.options.sink(r.head))
		highest = max(highest, sink)
		sum = A(math.Exp(float64(sink - highest)))
	}
	for n, s := range r.probs {
		r.probs[n] = A(math.Exp(float64(s - highest)))
		sum += r.probs[n]
	}
	for n, j := range r.keys {
		r.probs[n] /= sum
		if kept := r.kept(j); kept != 0 {
			addScaled(r.out, kept*r.factor(r.probs[n]), line(r.v, j, len(r.out)))
		}
	}
	return highest + A(math.Log(float64(sum)))
}

// backward adds the row's part of all gradients.
func (r *denseRow[A]) backward() {
	delta := dot(r.dOut, r.out)
	for n, j := range r.keys {
		p, kept, dP := r.probs[n], r.kept(j), A(0)
		if kept != 0 {
			dP = kept * dot(r.dOut, line(r.v, j, len(r.out)))
			addScaled(line(r.dv, j, len(r.out)), kept*r.factor(p), r.dOut)
		}
		dS := r.factor(p * (dP - delta) * r.slopes[n] * r.scale)
		addScaled(r.dq, dS, line(r.k, j, len(r.q)))
		addScaled(line(r.dk, j, len(r.q)), dS, r.q)
	}
}

func dot[A kernel.Float](x, y []A) A {
	s := A(0)
	for i, a := range x {
		s += a * y[i]
	}
	return s
}

func addScaled[A kernel.Float](to []A, factor A, x []A) {
	for i, a := range x {
		to[i] += factor * a
	}
}

// line is row i of a matrix whose rows have width elements.
func line[T any](x []T, i, width int) []T { return x[i*width:][:width:width] }

func as[A, T kernel.Float](x []T) []A {
	y := make([]A, len(x))
	for i, a := range x {
		y[i] = A(a)
	}
	return y
}
