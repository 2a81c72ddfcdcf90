package ops

import (
	"fmt"

	"gorgonia.org/gorgonia"

	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
)

// Lend makes runs add the gradient of n to memory, where they would write it into memory of the graph's own; nil ends that. A
// gradient of weights over more rows than a graph has is then the sum over several runs, and it need not be copied out.
//
// n is the node of a gradient that Backpropagate or gorgonia.Grad returned, of one of the weights of Linear, Project,
// RMSNorm or CrossEntropy that no other op reads.
func Lend[T Float](n *gorgonia.Node, memory []T) error {
	g, ok := n.Op().(*gradientOp[T])
	if !ok {
		return fmt.Errorf("ops: lend: %v is not the gradient of one op's input: pass a gradient of weights that one op reads", n)
	}
	adder, ok := g.f.rule.(adder)
	if !ok || !adder.adds(g.i) {
		return fmt.Errorf("ops: lend: %s cannot add up its gradient %d: lend memory for weights only", g.f, g.i)
	}
	if memory == nil {
		g.f.grads[g.i], g.f.lent[g.i] = array[T]{}, false
		return nil
	}
	if size := g.f.inShapes[g.i].TotalSize(); len(memory) != size {
		return fmt.Errorf("ops: lend: %d elements for a gradient of shape %v: lend %d", len(memory), g.f.inShapes[g.i], size)
	}
	g.f.grads[g.i], g.f.lent[g.i] = array[T]{shape: g.f.inShapes[g.i], data: memory}, true
	return nil
}

// adder is a rule that can add the gradient of input i to what is there.
type adder interface{ adds(i int) bool }

// beta is 1 where the gradient of input i is added to what is there, and 0 where it replaces it.
func (p *pass[T]) beta(i int) T {
	if p.lent[i] {
		return 1
	}
	return 0
}

// Accumulate adds term to sum, element by element and in parallel.
func Accumulate[T Float](sum, term []T) {
	sum = sum[:len(term)]
	eachBlock(len(term), 1, func(from, to int) { cpu.Add(sum[from:to], sum[from:to], term[from:to]) })
}
