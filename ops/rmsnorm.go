package ops

import (
	"fmt"
	"math"

	"gorgonia.org/gorgonia"

	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
)

// RMSNorm is y = weight · x / sqrt(mean(x²) + eps) over each row, as transformers' LlamaRMSNorm (Zhang and Sennrich 2019,
// arXiv 1910.07467). x and y are [N, width], weight is [width/groups].
//
// groups is 1 for the norms of a layer. Qwen3 norms each head of q and k by itself with one weight for all heads: groups is
// the number of heads then, and the mean is taken over each width/groups columns.
func RMSNorm(x, weight *gorgonia.Node, eps float64, groups int) (*gorgonia.Node, error) {
	return normalise("rmsnorm", x, weight, rmsnormOptions{eps: eps, groups: groups})
}

// ZeroCenteredRMSNorm is RMSNorm with 1 + weight in the place of weight, as Gemma has it: a weight of 0 changes nothing.
func ZeroCenteredRMSNorm(x, weight *gorgonia.Node, eps float64, groups int) (*gorgonia.Node, error) {
	return normalise("zerocenteredrmsnorm", x, weight, rmsnormOptions{eps: eps, groups: groups, zeroCentered: true})
}

func normalise(name string, x, weight *gorgonia.Node, o rmsnormOptions) (*gorgonia.Node, error) {
	if err := check(name, operand{"x", x, 2}, operand{"weight", weight, 1}); err != nil {
		return nil, err
	}
	width := x.Shape()[1]
	if o.groups < 1 || width%o.groups != 0 {
		return nil, fmt.Errorf("ops: %s: %d groups do not divide the width %d of x: want 1, or the number of heads", name, o.groups, width)
	}
	if weight.Shape()[0] != width/o.groups {
		return nil, fmt.Errorf("ops: %s: weight has %d elements: want width/groups = %d/%d", name, weight.Shape()[0], width, o.groups)
	}
	if o.eps < 0 || math.IsNaN(o.eps) {
		return nil, fmt.Errorf("ops: %s: eps is %v: want a small positive number", name, o.eps)
	}
	p := plan{name: name, in: []*gorgonia.Node{x, weight}, out: x.Shape().Clone()}
	return build(p, &rmsnorm[float32]{rmsnormOptions: o}, &rmsnorm[float64]{rmsnormOptions: o})
}

type rmsnormOptions struct {
	eps          float64
	groups       int
	zeroCentered bool // the factor is 1 + weight
}

type rmsnorm[T Float] struct {
	rmsnormOptions
	inv    []float64 // [N, groups]: 1/sqrt(mean(x²)+eps) of the last forward
	factor []T       // 1 + weight of the last pass, where zeroCentered
}

// factors is what normed rows are multiplied by. Its gradient is that of the weight.
func (r *rmsnorm[T]) factors(weight []T) []T {
	if !r.zeroCentered {
		return weight
	}
	if r.factor == nil {
		r.factor = make([]T, len(weight))
	}
	for i, w := range weight {
		r.factor[i] = 1 + w
	}
	return r.factor
}

func (r *rmsnorm[T]) forward(p *pass[T]) error {
	x, weight, y := p.in[0], r.factors(p.in[1].data), p.out
	if r.inv == nil {
		r.inv = make([]float64, x.rows()*r.groups)
	}
	eachBlock(x.rows(), x.width(), func(from, to int) {
		w := len(weight)
		for g := from * r.groups; g < to*r.groups; g++ {
			in, out := x.data[g*w:(g+1)*w], y.data[g*w:(g+1)*w]
			r.inv[g] = 1 / math.Sqrt(cpu.Dot(in, in)/float64(w)+r.eps)
			cpu.NormScale(out, in, weight, T(r.inv[g]))
		}
	})
	return nil
}

// backward is, for each group, with n = x·inv:
//
//	dx = inv · (weight∘dy - n·mean(weight∘dy∘n)),   dweight = sum over rows and groups of dy∘n
func (r *rmsnorm[T]) backward(p *pass[T]) error {
	x, weight, dy, dx := p.in[0], r.factors(p.in[1].data), p.dOut, p.grad(0)
	sumRows(p.grad(1).data, p.beta(1), x.rows(), func(row int, dWeight []float64) {
		w := len(weight)
		for g := row * r.groups; g < (row+1)*r.groups; g++ {
			in, d, out := x.data[g*w:(g+1)*w], dy.data[g*w:(g+1)*w], dx.data[g*w:(g+1)*w]
			inv := r.inv[g]
			mean := cpu.NormGrad(dWeight, d, in, weight, inv) / float64(w)
			cpu.NormInput(out, d, in, weight, inv, mean*inv*inv)
		}
	})
	return nil
}

func (*rmsnorm[T]) adds(i int) bool { return i == 1 }
