package ops

import (
	"errors"
	"fmt"
	"math"
	"runtime"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
)

// CrossEntropy is the output layer and the loss in one: the scalar node
//
//	scale · sum over labelled rows i of ( log sum_v e^(x[i]·w[v]) - x[i]·w[label[i]] )
//
// x is [N, D], w is [V, D], labels has N rows. The [N, V] logits never exist: rows are taken a chunk at a time (at most about
// 4 million logits), and since the loss is linear in its scale, the forward run computes the gradients of a chunk too while its
// probabilities are at hand, dx = (p - onehot)·w and dw = (p - onehot)ᵀ·x. Rows that are ignored cost nothing.
func CrossEntropy(x, w *gorgonia.Node, labels *Labels) (*gorgonia.Node, error) {
	return newCrossEntropy("crossentropy", x, w, labels, 0)
}

// CappedCrossEntropy is CrossEntropy of the logits limit·tanh(x[i]·w[v]/limit), see Softcap.
func CappedCrossEntropy(x, w *gorgonia.Node, labels *Labels, limit float64) (*gorgonia.Node, error) {
	const name = "cappedcrossentropy"
	if !(limit > 0) || math.IsInf(limit, 0) {
		return nil, fmt.Errorf("ops: %s: the limit is %v: want a finite positive number", name, limit)
	}
	return newCrossEntropy(name, x, w, labels, limit)
}

// newCrossEntropy caps nothing with a limit of 0.
func newCrossEntropy(name string, x, w *gorgonia.Node, labels *Labels, limit float64) (*gorgonia.Node, error) {
	if err := check(name, operand{"x", x, 2}, operand{"w", w, 2}); err != nil {
		return nil, err
	}
	n, d := x.Shape()[0], x.Shape()[1]
	if w.Shape()[1] != d || w.Shape()[0] < 1 {
		return nil, fmt.Errorf("ops: %s: x is %v and w is %v: want w [vocabulary, %d]", name, x.Shape(), w.Shape(), d)
	}
	if labels == nil || len(labels.ids) != n {
		return nil, fmt.Errorf("ops: %s: x has %d rows: want the labels NewLabels(%d)", name, n, n)
	}
	p := plan{name: name, in: []*gorgonia.Node{x, w}, out: tensor.ScalarShape()}
	return build(p, &crossEntropy[float32]{labels: labels, limit: limit}, &crossEntropy[float64]{labels: labels, limit: limit})
}

// chunkLogits is the number of logits a chunk aims at, and ChunkRows bounds its rows: fewer make slow matrix products over a
// large vocabulary, more do not fit the cache over a small one.
const (
	chunkLogits  = 1 << 22
	minChunkRows = 64
	maxChunkRows = 1024
)

// ChunkRows is the number of rows of x whose logits CrossEntropy computes at once.
func ChunkRows(vocabulary int) int {
	return min(max(chunkLogits/vocabulary, minChunkRows), maxChunkRows)
}

type crossEntropy[T Float] struct {
	labels    *Labels
	limit     float64 // of the logits, see Softcap; 0: none
	gradients bool    // the last forward computed them
	x, dx     []T     // [chunk, D]: the labelled rows of a chunk, and their gradients
	logits    []T     // [chunk, V]: logits, then probabilities, then their gradients
	slopes    [][]T   // [V] for each thread, where there is a limit: derivatives of the capped logits of one row
}

func (c *crossEntropy[T]) forward(p *pass[T]) error {
	x, w := p.in[0], p.in[1]
	rows, err := c.labels.labelled(w.rows())
	if err != nil {
		return err
	}
	c.gradients = !c.labels.ForwardOnly
	if c.gradients {
		clear(p.grad(0).data)
		if !p.lent[1] {
			clear(p.grad(1).data)
		}
	}
	c.reserve(min(len(rows), ChunkRows(w.rows())), x.width(), w.rows())
	for from := 0; from < len(rows); from += ChunkRows(w.rows()) {
		c.chunk(p, rows[from:min(len(rows), from+ChunkRows(w.rows()))])
	}
	for _, i := range rows {
		c.labels.sum += c.labels.nll[i]
	}
	c.labels.count = len(rows)
	p.out.data[0] = T(c.labels.scale() * c.labels.sum)
	return nil
}

// reserve makes the chunk's buffers large enough; they are kept between runs.
func (c *crossEntropy[T]) reserve(rows, width, vocabulary int) {
	if len(c.logits) < rows*vocabulary {
		c.x, c.logits = make([]T, rows*width), make([]T, rows*vocabulary)
	}
	if c.gradients && len(c.dx) < len(c.x) {
		c.dx = make([]T, len(c.x))
	}
	c.slopes = c.slopes[:min(len(c.slopes), runtime.GOMAXPROCS(0))]
	for c.limit > 0 && c.gradients && len(c.slopes) < min(rows, runtime.GOMAXPROCS(0)) {
		c.slopes = append(c.slopes, make([]T, vocabulary))
	}
}

// chunk computes the losses of the given rows and adds their gradients.
func (c *crossEntropy[T]) chunk(p *pass[T], rows []int) {
	// 1. The logits of the rows, gathered.
	x, w := p.in[0], p.in[1]
	d, v := x.width(), w.rows()
	in := array[T]{tensor.Shape{len(rows), d}, c.x[:len(rows)*d]}
	for k, i := range rows {
		copy(in.row(k), x.row(i))
	}
	logits := array[T]{tensor.Shape{len(rows), v}, c.logits[:len(rows)*v]}
	cpu.Gemm(matmul(logits, in, w, cpu.Matmul[T]{TransB: true}))

	// 2. Each row's loss, and the gradient of its logits in their place.
	c.eachRow(len(rows), func(k int, slope []T) {
		i := rows[k]
		c.labels.nll[i] = c.row(logits.row(k), int(c.labels.ids[i]), slope)
	})
	if !c.gradients {
		return
	}

	// 3. dw over the chunk, and dx back to where the rows came from.
	cpu.Gemm(matmul(p.grad(1), logits, in, cpu.Matmul[T]{TransA: true, Beta: 1}))
	dIn := array[T]{in.shape, c.dx[:len(in.data)]}
	cpu.Gemm(matmul(dIn, logits, w, cpu.Matmul[T]{}))
	dx := p.grad(0)
	for k, i := range rows {
		copy(dx.row(i), dIn.row(k))
	}
}

// eachRow calls f in parallel for n rows, with memory for the slopes of a row where they are needed.
func (c *crossEntropy[T]) eachRow(n int, f func(row int, slope []T)) {
	if len(c.slopes) == 0 {
		cpu.Parallel(n, func(row int) { f(row, nil) })
		return
	}
	cpu.Parallel(len(c.slopes), func(first int) {
		for row := first; row < n; row += len(c.slopes) {
			f(row, c.slopes[first])
		}
	})
}

// row turns the logits of one row into their gradient and returns its loss, log(sum e^(l-m)) + m - l[label] with m the largest. slope
// is memory for the derivatives of capped logits, nil where there is no limit or no gradient.
func (c *crossEntropy[T]) row(logits []T, label int, slope []T) float64 {
	if c.limit > 0 {
		capAll(logits, logits, c.limit, slope)
	}
	target := logits[label]
	largest, sum := cpu.ExpSum(logits)
	if c.gradients {
		scale := c.labels.scale()
		cpu.Scale(logits, T(scale/sum))
		logits[label] -= T(scale)
		for v, s := range slope {
			logits[v] *= s
		}
	}
	return math.Log(sum) + (float64(largest) - float64(target))
}

// backward multiplies what forward has computed by the gradient of the loss, which is 1 unless the graph goes on after it.
func (c *crossEntropy[T]) backward(p *pass[T]) error {
	if !c.gradients {
		return errors.New("the forward run left the gradients out: set Labels.ForwardOnly to false for runs with a backward")
	}
	factor := p.dOut.data[0]
	if factor == 1 {
		return nil
	}
	if p.lent[1] {
		return errors.New("the gradient of w is added to lent memory: let the loss be the graph's cost, and scale it with Labels.Scale")
	}
	for i := range p.in {
		g := p.grad(i).data
		eachBlock(len(g), 1, func(from, to int) { cpu.Scale(g[from:to], factor) })
	}
	return nil
}

func (*crossEntropy[T]) adds(i int) bool { return i == 1 }
