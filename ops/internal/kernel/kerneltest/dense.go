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
			keys := p.tokens
			if p.causal {
				keys = i + 1
			}
			row.rounded = p.bfloat16 && isFloat32[A]()
			row.probs = make([]A, keys)
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
	probs           []A
	out, dq, dk, dv []A
	rounded         bool // what is multiplied is of bfloat16
}

// factor is x as it enters a product.
func (r *denseRow[A]) factor(x A) A {
	if r.rounded {
		return roundToBFloat16(x)
	}
	return x
}

// forward fills probs and out and returns the log-sum-exp.
func (r *denseRow[A]) forward() A {
	highest := A(math.Inf(-1))
	for j := range r.probs {
		r.probs[j] = r.scale * dot(r.q, line(r.k, j, len(r.q)))
		highest = max(highest, r.probs[j])
	}
	sum := A(0)
	for j, s := range r.probs {
		r.probs[j] = A(math.Exp(float64(s - highest)))
		sum += r.probs[j]
	}
	for j := range r.probs {
		r.probs[j] /= sum
		addScaled(r.out, r.factor(r.probs[j]), line(r.v, j, len(r.out)))
	}
	return highest + A(math.Log(float64(sum)))
}

// backward adds the row's part of all gradients.
func (r *denseRow[A]) backward() {
	delta := dot(r.dOut, r.out)
	for j, p := range r.probs {
		dS := p * (dot(r.dOut, line(r.v, j, len(r.out))) - delta) * r.scale
		dS = r.factor(dS)
		addScaled(line(r.dv, j, len(r.out)), r.factor(p), r.dOut)
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
