package cpu

import (
	"math"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// portableVectors are the loops of vectors in portable Go.
func portableVectors[T kernel.Float](exp func(T) T) vectors[T] {
	sigmoid := func(x T) T { // e^x/(1+e^x) below 0, where e^-x may overflow
		if x < 0 {
			e := exp(x)
			return e / (1 + e)
		}
		return 1 / (1 + exp(-x))
	}
	return vectors[T]{
		add:   addGeneric[T],
		scale: scaleGeneric[T],
		swiglu: func(y, gate, up []T) {
			for i, g := range gate {
				y[i] = g * sigmoid(g) * up[i]
			}
		},
		swigluGrad: func(dGate, dUp, gate, up, dy []T) {
			for i, g := range gate {
				s := sigmoid(g)
				silu, d, u := g*s, dy[i], up[i]
				dUp[i] = d * silu
				dGate[i] = d * u * (s + silu*(1-s))
			}
		},
		adamw:      adamwGeneric[T],
		dot:        dotGeneric[T],
		accumulate: accumulateGeneric[T],
		normScale:  normScaleGeneric[T],
		normGrad:   normGradGeneric[T],
		normInput:  normInputGeneric[T],
		rotate:     rotateGeneric[T],
	}
}

func addGeneric[T kernel.Float](y, a, b []T) {
	for i := range y {
		y[i] = a[i] + b[i]
	}
}

func scaleGeneric[T kernel.Float](x []T, factor T) {
	for i := range x {
		x[i] *= factor
	}
}

func adamwGeneric[T kernel.Float](param, grad, m, v, factors []T) {
	scale, keep, toM, keepV, toV := factors[0], factors[1], factors[2], factors[3], factors[4]
	rootBias, epsilon, rate := factors[5], factors[6], factors[7]
	for i, g := range grad {
		g *= scale
		m[i] += toM * (g - m[i])
		v[i] = v[i]*keepV + toV*g*g
		root := T(math.Sqrt(float64(v[i])))
		param[i] = param[i]*keep + rate*m[i]/(root/rootBias+epsilon)
	}
}

func dotGeneric[T kernel.Float](a, b []T) float64 {
	var s0, s1, s2, s3 float64 // four, to keep the adder busy
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += float64(a[i]) * float64(b[i])
		s1 += float64(a[i+1]) * float64(b[i+1])
		s2 += float64(a[i+2]) * float64(b[i+2])
		s3 += float64(a[i+3]) * float64(b[i+3])
	}
	for ; i < len(a); i++ {
		s0 += float64(a[i]) * float64(b[i])
	}
	return (s0 + s1) + (s2 + s3)
}

func accumulateGeneric[T kernel.Float](sum []float64, x []T) {
	for i, v := range x {
		sum[i] += float64(v)
	}
}

func normScaleGeneric[T kernel.Float](y, x, weight []T, inv T) {
	for i, v := range x {
		y[i] = weight[i] * (v * inv)
	}
}

func normGradGeneric[T kernel.Float](dWeight []float64, dy, x, weight []T, inv float64) float64 {
	sum := 0.0
	for i, v := range x {
		d := float64(dy[i]) * float64(v) * inv
		dWeight[i] += d
		sum += d * float64(weight[i])
	}
	return sum
}

func normInputGeneric[T kernel.Float](dx, dy, x, weight []T, inv, mean float64) {
	for i, v := range x {
		dx[i] = T(inv*float64(weight[i])*float64(dy[i]) - mean*float64(v))
	}
}

func rotateGeneric[T kernel.Float](y, x []T, cos, sin []float64, sign float64) {
	half := len(cos)
	for i, c := range cos {
		s := sin[i] * sign
		a, b := float64(x[i]), float64(x[half+i])
		y[i], y[half+i] = T(a*c-b*s), T(b*c+a*s)
	}
}
