package ops_test

import (
	"fmt"
	"math"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringgrad/ringgrad/ops"
)

// smallCases are all ops at sizes where differences by hand are cheap, one row and one column among them.
func smallCases() []opCase {
	var cases []opCase
	for _, n := range []int{1, 5} {
		cases = append(cases,
			linearCase(n, 3, 4, true), linearCase(n, 1, 1, true), linearCase(n, 4, 1, false), linearCase(n, 1, 3, false),
			rmsnormCase(n, 6, 1), rmsnormCase(n, 6, 2), rmsnormCase(n, 1, 1), rmsnormCase(n, 4, 4),
			ropeCase(n, 1, 2), ropeCase(n, 3, 4),
			zeroCenteredCase(n, 6, 2), projectCase(n, 3, 4), projectCase(n, 1, 1),
			swigluCase(n, 1), swigluCase(n, 7), gegluCase(n, 1), gegluCase(n, 7),
			clampedCase(n, 1, 0.9), clampedCase(n, 7, 0.9), clampedCase(n, 3, 7), softcapCase(n, 1), softcapCase(n, 7),
			addCase(n, 1), addCase(n, 7),
			embeddingCase(n, 4, 3), embeddingCase(n, 1, 1),
			crossEntropyCase(n, 3, 7), crossEntropyCase(n, 1, 2), crossEntropyCase(n, 2, 1),
			cappedCase(n, 3, 7, 1.3), cappedCase(n, 2, 1, 2), cappedCase(n, 3, 7, 30),
		)
	}
	return cases
}

// largeCases are all ops at sizes that are cut into several parallel blocks, chunks and strips.
func largeCases() []opCase {
	return []opCase{
		linearCase(1100, 37, 65, true), rmsnormCase(1100, 96, 3), ropeCase(900, 3, 10), swigluCase(700, 61), addCase(700, 61),
		embeddingCase(600, 41, 150), crossEntropyCase(1500, 19, 33),
		zeroCenteredCase(1100, 96, 3), projectCase(1100, 37, 65), gegluCase(700, 61), clampedCase(700, 61, 0.9), softcapCase(700, 61),
		cappedCase(1500, 19, 33, 5),
	}
}

func linearCase(n, in, out int, bias bool) opCase {
	c := opCase{
		name:   fmt.Sprintf("linear %dx%dx%d bias %v", n, in, out, bias),
		shapes: []tensor.Shape{{n, in}, {out, in}}, out: tensor.Shape{n, out},
		build: func(x []*gorgonia.Node) (*gorgonia.Node, error) { return ops.Linear(x[0], x[1], nil) },
	}
	if bias {
		c.shapes = append(c.shapes, tensor.Shape{out})
		c.build = func(x []*gorgonia.Node) (*gorgonia.Node, error) { return ops.Linear(x[0], x[1], x[2]) }
	}
	c.reference = func(x [][]float64) []float64 {
		y := make([]float64, n*out)
		for i := range n {
			for o := range out {
				if bias {
					y[i*out+o] = x[2][o]
				}
				for k := range in {
					y[i*out+o] += x[0][i*in+k] * x[1][o*in+k]
				}
			}
		}
		return y
	}
	return c
}

func rmsnormCase(n, width, groups int) opCase {
	const eps = 1e-5
	w := width / groups
	return opCase{
		name:   fmt.Sprintf("rmsnorm %dx%d in %d groups", n, width, groups),
		shapes: []tensor.Shape{{n, width}, {w}}, out: tensor.Shape{n, width},
		build: func(x []*gorgonia.Node) (*gorgonia.Node, error) { return ops.RMSNorm(x[0], x[1], eps, groups) },
		reference: func(x [][]float64) []float64 {
			y := make([]float64, n*width)
			for i := 0; i < n*width; i += w {
				mean := 0.0
				for j := range w {
					mean += x[0][i+j] * x[0][i+j] / float64(w)
				}
				for j := range w {
					y[i+j] = x[0][i+j] / math.Sqrt(mean+eps) * x[1][j]
				}
			}
			return y
		},
	}
}

// ropeCase rotates by arbitrary angles, scaled by 1.25.
func ropeCase(n, heads, dim int) opCase {
	half := dim / 2
	cos, sin := make([]float64, n*half), make([]float64, n*half)
	for i := range cos {
		sin[i], cos[i] = math.Sincos(0.7 * float64(i+1))
		sin[i], cos[i] = 1.25*sin[i], 1.25*cos[i]
	}
	return opCase{
		name:   fmt.Sprintf("rope %dx%dx%d", n, heads, dim),
		shapes: []tensor.Shape{{n, heads * dim}}, out: tensor.Shape{n, heads * dim},
		build: func(x []*gorgonia.Node) (*gorgonia.Node, error) {
			table := ops.NewRoPETable(n, half)
			if err := table.Set(cos, sin); err != nil {
				return nil, err
			}
			return ops.RoPE(x[0], heads, table)
		},
		reference: func(x [][]float64) []float64 {
			y := make([]float64, n*heads*dim)
			for k := range y {
				row, i, head := k/(heads*dim), k%dim, k/dim*dim
				if i < half {
					y[k] = x[0][k]*cos[row*half+i] - x[0][head+i+half]*sin[row*half+i]
				} else {
					y[k] = x[0][k]*cos[row*half+i-half] + x[0][head+i-half]*sin[row*half+i-half]
				}
			}
			return y
		},
	}
}

func swigluCase(n, width int) opCase {
	return opCase{
		name:   fmt.Sprintf("swiglu %dx%d", n, width),
		shapes: []tensor.Shape{{n, width}, {n, width}}, out: tensor.Shape{n, width},
		build: func(x []*gorgonia.Node) (*gorgonia.Node, error) { return ops.SwiGLU(x[0], x[1]) },
		reference: func(x [][]float64) []float64 {
			y := make([]float64, n*width)
			for i, g := range x[0] {
				y[i] = g / (1 + math.Exp(-g)) * x[1][i]
			}
			return y
		},
	}
}

func addCase(n, width int) opCase {
	return opCase{
		name:   fmt.Sprintf("add %dx%d", n, width),
		shapes: []tensor.Shape{{n, width}, {n, width}}, out: tensor.Shape{n, width},
		build: func(x []*gorgonia.Node) (*gorgonia.Node, error) { return ops.Add(x[0], x[1]) },
		reference: func(x [][]float64) []float64 {
			y := make([]float64, n*width)
			for i := range y {
				y[i] = x[0][i] + x[1][i]
			}
			return y
		},
	}
}

func embeddingCase(n, vocabulary, width int) opCase {
	tokens := make([]int32, n)
	for i := range tokens {
		tokens[i] = int32((i*i + 1) % vocabulary)
	}
	return opCase{
		name:   fmt.Sprintf("embedding %d of %dx%d", n, vocabulary, width),
		shapes: []tensor.Shape{{vocabulary, width}}, out: tensor.Shape{n, width},
		build: func(x []*gorgonia.Node) (*gorgonia.Node, error) {
			ids := ops.NewIDs(n)
			if err := ids.Set(tokens); err != nil {
				return nil, err
			}
			return ops.Embedding(x[0], ids)
		},
		reference: func(x [][]float64) []float64 {
			var y []float64
			for _, id := range tokens {
				y = append(y, x[0][int(id)*width:(int(id)+1)*width]...)
			}
			return y
		},
	}
}

// crossEntropyCase ignores every third row, the first not, and scales by 0.5.
func crossEntropyCase(n, width, vocabulary int) opCase { return cappedCase(n, width, vocabulary, 0) }

// cappedCase is the same with capped logits, if limit is not 0.
func cappedCase(n, width, vocabulary int, limit float64) opCase {
	const scale = 0.5
	tokens := make([]int32, n)
	for i := range tokens {
		tokens[i] = int32(i * 5 % vocabulary)
		if i%3 == 1 {
			tokens[i] = -100
		}
	}
	return opCase{
		name:   fmt.Sprintf("crossentropy %dx%d of %d limit %v", n, width, vocabulary, limit),
		shapes: []tensor.Shape{{n, width}, {vocabulary, width}}, out: tensor.ScalarShape(),
		build: func(x []*gorgonia.Node) (*gorgonia.Node, error) {
			labels := ops.NewLabels(n)
			labels.Scale = scale
			if err := labels.Set(tokens); err != nil {
				return nil, err
			}
			if limit > 0 {
				return ops.CappedCrossEntropy(x[0], x[1], labels, limit)
			}
			return ops.CrossEntropy(x[0], x[1], labels)
		},
		reference: func(x [][]float64) []float64 {
			total := 0.0
			for _, loss := range cappedLosses(x[0], x[1], tokens, width, limit) {
				total += scale * loss
			}
			return []float64{total}
		},
	}
}

// denseLosses is the loss of each row from all its logits at once.
func denseLosses(x, w []float64, labels []int32, width int) []float64 {
	return cappedLosses(x, w, labels, width, 0)
}

func cappedLosses(x, w []float64, labels []int32, width int, limit float64) []float64 {
	losses := make([]float64, len(labels))
	for i, label := range labels {
		if label < 0 {
			continue
		}
		logits := make([]float64, len(w)/width)
		largest := math.Inf(-1)
		for v := range logits {
			for k := range width {
				logits[v] += x[i*width+k] * w[v*width+k]
			}
			if limit > 0 {
				logits[v] = limit * math.Tanh(logits[v]/limit)
			}
			largest = max(largest, logits[v])
		}
		sum := 0.0
		for _, l := range logits {
			sum += math.Exp(l - largest)
		}
		losses[i] = math.Log(sum) + largest - logits[label]
	}
	return losses
}
