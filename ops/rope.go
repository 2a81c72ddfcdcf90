package ops

import (
	"fmt"

	"gorgonia.org/gorgonia"

	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
)

// RoPETable holds the rotations of N rows: the cosine and the sine of each row's position times each of the D/2 inverse
// frequencies, [N, D/2] both, already times the attention scaling where the RoPE type has one (yarn). One table serves all
// the RoPE ops of a graph; it is read at each run.
type RoPETable struct {
	rows, half int
	cos, sin   []float64
	set        bool
}

// NewRoPETable makes a table for N rows and D/2 = half frequencies. Set it before the first run.
func NewRoPETable(rows, half int) *RoPETable {
	n := max(rows, 0) * max(half, 0)
	return &RoPETable{rows: rows, half: half, cos: make([]float64, n), sin: make([]float64, n)}
}

// Set copies cos and sin, [N, D/2] both, row by row, into the table.
func (t *RoPETable) Set(cos, sin []float64) error {
	if len(cos) != len(t.cos) || len(sin) != len(t.sin) {
		return fmt.Errorf("ops: rope table: got %d cosines and %d sines: want %d rows of %d", len(cos), len(sin), t.rows, t.half)
	}
	copy(t.cos, cos)
	copy(t.sin, sin)
	t.set = true
	return nil
}

// RoPE rotates the queries or keys x [N, heads·D] by their positions (Su et al. 2021, arXiv 2104.09864), in the half-split
// form of transformers (rotate_half): column i of a head is paired with column i + D/2.
//
//	y[i]     = x[i]·cos[i] - x[i+D/2]·sin[i]
//	y[i+D/2] = x[i+D/2]·cos[i] + x[i]·sin[i]
//
// The gradient is the inverse rotation, times the scaling that cos and sin carry.
func RoPE(x *gorgonia.Node, heads int, table *RoPETable) (*gorgonia.Node, error) {
	const name = "rope"
	if err := check(name, operand{"x", x, 2}); err != nil {
		return nil, err
	}
	n, width := x.Shape()[0], x.Shape()[1]
	if heads < 1 || width%(2*heads) != 0 {
		return nil, fmt.Errorf("ops: %s: x has %d columns for %d heads: want an even head dim", name, width, heads)
	}
	if table == nil || table.rows != n || table.half != width/heads/2 {
		return nil, fmt.Errorf("ops: %s: x is %v with %d heads: want the table NewRoPETable(%d, %d)", name, x.Shape(), heads, n, width/heads/2)
	}
	p := plan{name: name, in: []*gorgonia.Node{x}, out: x.Shape().Clone()}
	return build(p, rope[float32]{heads, table}, rope[float64]{heads, table})
}

type rope[T Float] struct {
	heads int
	table *RoPETable
}

func (r rope[T]) forward(p *pass[T]) error {
	if !r.table.set {
		return fmt.Errorf("the table is not set: call RoPETable.Set before the run")
	}
	r.rotate(p.out, p.in[0], 1)
	return nil
}

func (r rope[T]) backward(p *pass[T]) error {
	r.rotate(p.grad(0), p.dOut, -1)
	return nil
}

// rotate turns every pair of every head of x by the table's angle times sign.
func (r rope[T]) rotate(y, x array[T], sign float64) {
	half := r.table.half
	eachBlock(x.rows(), x.width(), func(from, to int) {
		for i := from; i < to; i++ {
			cos, sin := r.table.cos[i*half:(i+1)*half], r.table.sin[i*half:(i+1)*half]
			in, out := x.row(i), y.row(i)
			for h := 0; h < len(in); h += 2 * half {
				cpu.Rotate(out[h:h+2*half], in[h:h+2*half], cos, sin, sign)
			}
		}
	})
}
