package cpu

import (
	"unsafe"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// vectors are the inner loops of everything between attention and matrix
// products. Their slices are of one length, which callers check.
type vectors[T kernel.Float] struct {
	add        func(y, a, b []T)
	scale      func(x []T, factor T)
	swiglu     func(y, gate, up []T)
	swigluGrad func(dGate, dUp, gate, up, dy []T)
	adamw      func(param, grad, m, v, factors []T)

	dot        func(a, b []T) float64
	accumulate func(sum []float64, x []T)
	normScale  func(y, x, weight []T, inv T)
	normGrad   func(dWeight []float64, dy, x, weight []T, inv float64) float64
	normInput  func(dx, dy, x, weight []T, inv, mean float64)
	rotate     func(y, x []T, cos, sin []float64, sign float64)
}

// vectorsOf returns the active loops for element type T.
func vectorsOf[T kernel.Float]() *vectors[T] {
	var v any = &active.v64
	if _, ok := any(T(0)).(float32); ok {
		v = &active.v32
	}
	return v.(*vectors[T])
}

// sameLength panics unless all lengths are n: the assembly looks at the first slice alone.
func sameLength(n int, lengths ...int) {
	for _, l := range lengths {
		if l != n {
			panic("cpu: slices of different lengths")
		}
	}
}

// Add sets y to a + b, element by element. y may be a or b.
func Add[T kernel.Float](y, a, b []T) {
	sameLength(len(y), len(a), len(b))
	vectorsOf[T]().add(y, a, b)
}

// Scale multiplies x by factor.
func Scale[T kernel.Float](x []T, factor T) { vectorsOf[T]().scale(x, factor) }

// SwiGLU sets y to gate/(1+e^-gate)·up. The sigmoid is right to a few units in the last place for gates of any size; where e^-|gate|
// is below the smallest normal number, it counts as 0.
func SwiGLU[T kernel.Float](y, gate, up []T) {
	sameLength(len(y), len(gate), len(up))
	vectorsOf[T]().swiglu(y, gate, up)
}

// SwiGLUGrad computes the gradients of gate and up from dy, that of y: with s the sigmoid of gate, silu = gate·s and
// silu' = s + silu·(1-s).
func SwiGLUGrad[T kernel.Float](dGate, dUp, gate, up, dy []T) {
	sameLength(len(dy), len(dGate), len(dUp), len(gate), len(up))
	vectorsOf[T]().swigluGrad(dGate, dUp, gate, up, dy)
}

// AdamWFactors are what all elements are multiplied by in a step of AdamW.
type AdamWFactors[T kernel.Float] struct {
	Grad       T // on the gradient
	Keep       T // 1 - lr·wd
	ToM        T // 1 - β1
	KeepV, ToV T // β2, 1 - β2
	RootBias2  T // √(1-β2^t)
	Epsilon    T
	Rate       T // -lr/(1-β1^t)
}

// AdamW updates param and the moments m and v. The assembly fuses nothing: bits are those of the scalar loop.
func AdamW[T kernel.Float](param, grad, m, v []T, f *AdamWFactors[T]) {
	sameLength(len(param), len(grad), len(m), len(v))
	vectorsOf[T]().adamw(param, grad, m, v, unsafe.Slice(&f.Grad, unsafe.Sizeof(*f)/unsafe.Sizeof(f.Grad)))
}

// Dot is the inner product in float64. Its order depends on the length and the instruction set alone.
func Dot[T kernel.Float](a, b []T) float64 {
	sameLength(len(a), len(b))
	return vectorsOf[T]().dot(a, b)
}

// Accumulate adds x to sum, in float64.
func Accumulate[T kernel.Float](sum []float64, x []T) {
	sameLength(len(x), len(sum))
	vectorsOf[T]().accumulate(sum, x)
}

// NormScale sets y to weight·(x·inv).
func NormScale[T kernel.Float](y, x, weight []T, inv T) {
	sameLength(len(y), len(x), len(weight))
	vectorsOf[T]().normScale(y, x, weight, inv)
}

// NormGrad adds dy·x·inv to dWeight and returns the sum of dy·x·inv·weight, all in float64.
func NormGrad[T kernel.Float](dWeight []float64, dy, x, weight []T, inv float64) float64 {
	sameLength(len(x), len(dWeight), len(dy), len(weight))
	return vectorsOf[T]().normGrad(dWeight, dy, x, weight, inv)
}

// NormInput sets dx to inv·weight·dy - mean·x, in float64 since the two terms may all but cancel.
func NormInput[T kernel.Float](dx, dy, x, weight []T, inv, mean float64) {
	sameLength(len(dx), len(dy), len(x), len(weight))
	vectorsOf[T]().normInput(dx, dy, x, weight, inv, mean)
}

// Rotate turns the pairs (x[i], x[i+half]) by angles given as half cosines and sines, times sign; y may be x. It computes in float64.
func Rotate[T kernel.Float](y, x []T, cos, sin []float64, sign float64) {
	sameLength(len(cos), len(sin))
	sameLength(2*len(cos), len(y), len(x))
	vectorsOf[T]().rotate(y, x, cos, sin, sign)
}
