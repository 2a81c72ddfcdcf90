package gradcheck

import (
	"math"
	"math/rand/v2"

	"github.com/ringgrad/ringgrad/ops/ringattn"
)

// hotDeviation is the standard deviation of hot scores.
const hotDeviation = 12

// random fills a shape with normal numbers, so that the scores at scale 1/√D have the given standard deviation.
func random(seed uint64, in ringattn.DenseInputs, deviation float64) ringattn.DenseInputs {
	r := rand.New(rand.NewPCG(seed, 42))
	normal := func(n int, deviation float64) []float64 {
		x := make([]float64, n)
		for i := range x {
			x[i] = deviation * r.NormFloat64()
		}
		return x
	}
	n, queries := in.Batch*in.Tokens, in.Batch*in.Queries()
	in.Q = normal(queries*in.Heads*in.Dim, math.Sqrt(deviation))
	in.K = normal(n*in.KVHeads*in.Dim, math.Sqrt(deviation))
	in.V = normal(n*in.KVHeads*in.ValueDim, 1)
	in.DOut = normal(queries*in.Heads*in.ValueDim, 1)
	return in
}

// rounded is in with every number rounded to float32, so that a float32 run and a float64 reference start from the same.
func rounded(in ringattn.DenseInputs) ringattn.DenseInputs {
	for _, x := range []*[]float64{&in.Q, &in.K, &in.V, &in.DOut, &in.Sinks} {
		if *x == nil {
			continue
		}
		out := make([]float64, len(*x))
		for i, v := range *x {
			out[i] = float64(float32(v))
		}
		*x = out
	}
	return in
}
