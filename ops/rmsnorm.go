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
	const name = "rmsnorm"
	if err := check(name, operand{"x", x, 2}, operand{"weight", weight, 1}); err != nil {
		return nil, err
	}
	width := x.Shape()[1]
	if groups < 1 || width%groups != 0 {
		return nil, fmt.Errorf("ops: %s: %d groups do not divide the width %d of x: want 1, or the number of heads", name, groups, width)
	}
	if weight.Shape()[0] != width/groups {
		return nil, fmt.Errorf("ops: %s: weight has %d elements: want width/groups = %d/%d", name, weight.Shape()[0], width, groups)
	}
	if eps < 0 || math.IsNaN(eps) {
		return nil, fmt.Errorf("ops: %s: eps is %v: want a small positive number", name, eps)
	}
	p := plan{name: name, in: []*gorgonia.Node{x, weight}, out: x.Shape().Clone()}
	return build(p, &rmsnorm[float32]{eps: eps, groups: groups}, &rmsnorm[float64]{eps: eps, groups: groups})
}

type rmsnorm[T Float] struct {
	eps    float64
	groups int
	inv    []float64 // [N, groups]: 1/sqrt(mean(x²)+eps) of the last forward
}

func (r *rmsnorm[T]) forward(p *pass[T]) error {
	x, weight, y := p.in[0], p.in[1].data, p.out
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
	x, weight, dy, dx := p.in[0], p.in[1].data, p.dOut, p.grad(0)
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
