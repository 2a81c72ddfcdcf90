// Command example_softmax shows what it takes to give an existing gorgonia model ring attention: one line.
//
// The model is a layer of causal self-attention with output projection and squared loss, as one writes it in gorgonia with
// Mul, a mask and SoftMax. It is built twice, once as it was, once with the op over a ring of four ranks, and run on the
// same numbers: the losses and the gradients of the four weights agree to rounding.
//
//	go run ./ops/ringattn/example_softmax
package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

const (
	tokens = 50 // T, which no ring size needs to divide
	width  = 16 // D, one head
)

// attention turns q, k and v [T, D] into the output [T, D].
type attention func(q, k, v *gorgonia.Node) (*gorgonia.Node, error)

// plain is what the model had: softmax(QKᵀ/√D + mask)V, with T×T scores, mask and probabilities in memory.
func plain(q, k, v *gorgonia.Node) (*gorgonia.Node, error) {
	kT, err := gorgonia.Transpose(k, 1, 0)
	if err != nil {
		return nil, err
	}
	scores, err := gorgonia.Mul(q, kT)
	if err != nil {
		return nil, err
	}
	scores, err = gorgonia.Mul(scores, gorgonia.NewConstant(1/math.Sqrt(width)))
	if err != nil {
		return nil, err
	}
	scores, err = gorgonia.Add(scores, causalMask(q.Graph()))
	if err != nil {
		return nil, err
	}
	p, err := gorgonia.SoftMax(scores)
	if err != nil {
		return nil, err
	}
	return gorgonia.Mul(p, v)
}

// ring is the changed line.
func ring(q, k, v *gorgonia.Node) (*gorgonia.Node, error) {
	return ringattn.Attention(q, k, v, ringattn.Config{NumHeads: 1, Causal: true, Devices: 4, Layout: shard.Zigzag})
}

// causalMask is 0 on and below the diagonal and -1e9 above.
func causalMask(g *gorgonia.ExprGraph) *gorgonia.Node {
	mask := make([]float64, tokens*tokens)
	for i := range tokens {
		for j := i + 1; j < tokens; j++ {
			mask[i*tokens+j] = -1e9
		}
	}
	return matrix(g, "mask", tokens, tokens, mask)
}

// result is the loss and the gradients of wq, wk, wv, wo.
type result struct {
	loss  float64
	grads [][]float64
}

// train builds the model with the given attention, and runs it forward and backward once.
func train(attend attention) (result, error) {
	random := rand.New(rand.NewPCG(1, 2))
	g := gorgonia.NewGraph()
	x, target := normal(g, random, "x", tokens), normal(g, random, "target", tokens)
	var weights gorgonia.Nodes
	for _, name := range []string{"wq", "wk", "wv", "wo"} {
		weights = append(weights, normal(g, random, name, width))
	}

	out, err := attend(gorgonia.Must(gorgonia.Mul(x, weights[0])), gorgonia.Must(gorgonia.Mul(x, weights[1])), gorgonia.Must(gorgonia.Mul(x, weights[2])))
	if err != nil {
		return result{}, err
	}
	miss := gorgonia.Must(gorgonia.Sub(gorgonia.Must(gorgonia.Mul(out, weights[3])), target))
	loss := gorgonia.Must(gorgonia.Mean(gorgonia.Must(gorgonia.Square(miss))))
	grads, err := gorgonia.Grad(loss, weights...)
	if err != nil {
		return result{}, err
	}
	machine := gorgonia.NewTapeMachine(g)
	defer func() { _ = machine.Close() }()
	if err := machine.RunAll(); err != nil {
		return result{}, err
	}
	r := result{loss: loss.Value().Data().(float64)}
	for _, n := range grads {
		r.grads = append(r.grads, n.Value().Data().([]float64))
	}
	return r, nil
}

// normal is a node of so many rows of random numbers.
func normal(g *gorgonia.ExprGraph, random *rand.Rand, name string, rows int) *gorgonia.Node {
	data := make([]float64, rows*width)
	for i := range data {
		data[i] = random.NormFloat64() / math.Sqrt(width)
	}
	return matrix(g, name, rows, width, data)
}

func matrix(g *gorgonia.ExprGraph, name string, rows, columns int, data []float64) *gorgonia.Node {
	return gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithShape(rows, columns), gorgonia.WithName(name),
		gorgonia.WithValue(tensor.New(tensor.WithShape(rows, columns), tensor.WithBacking(data))))
}

// difference is the largest difference of two gradients, relative to the largest entry.
func difference(a, b []float64) float64 {
	diff, top := 0.0, 0.0
	for i := range a {
		diff, top = max(diff, math.Abs(a[i]-b[i])), max(top, math.Abs(a[i]))
	}
	return diff / top
}

func main() {
	before, err := train(plain)
	if err != nil {
		fmt.Fprintln(os.Stderr, "with plain softmax:", err)
		os.Exit(1)
	}
	after, err := train(ring)
	if err != nil {
		fmt.Fprintln(os.Stderr, "with the op:", err)
		os.Exit(1)
	}
	fmt.Printf("loss with plain softmax  %.15f\nloss with a ring of four %.15f\n", before.loss, after.loss)
	for i, name := range []string{"wq", "wk", "wv", "wo"} {
		fmt.Printf("gradient of %s differs by %.1e of its largest entry\n", name, difference(before.grads[i], after.grads[i]))
	}
}
