package ops

import (
	"errors"
	"fmt"
	"slices"

	"gorgonia.org/gorgonia"
)

// Backpropagate adds the nodes of the gradients of wrt to the graph, given the gradients of the outputs: it is
// gorgonia.Backpropagate, with its arguments and its result, for any graph whose ops have a SymDiff.
//
// The difference is in nodes that several others use, as x in x + f(x): gorgonia adds their gradients with its own Add, which
// has one thread, works in place and panics, on a goroutine where nobody can recover, for shards without rows.
func Backpropagate(outputs, gradOutputs, wrt gorgonia.Nodes) (gorgonia.Nodes, error) {
	if len(outputs) != len(gradOutputs) || len(outputs) == 0 {
		return nil, fmt.Errorf("ops: backpropagate: %d outputs with %d gradients: give one for each", len(outputs), len(gradOutputs))
	}
	all := slices.Concat(outputs, gradOutputs, wrt)
	if slices.Contains(all, nil) {
		return nil, errors.New("ops: backpropagate: a node is nil: pass nodes")
	}
	if i := slices.IndexFunc(all, func(n *gorgonia.Node) bool { return n.Graph() != all[0].Graph() }); i >= 0 {
		return nil, fmt.Errorf("ops: backpropagate: %v is of another graph than %v: pass nodes of one graph", all[i], all[0])
	}
	b := &backpropagation{wrt: wrt, leads: map[*gorgonia.Node]bool{}, grads: map[*gorgonia.Node]gorgonia.Nodes{}}
	for i, out := range outputs {
		b.visit(out)
		b.grads[out] = append(b.grads[out], gradOutputs[i])
	}
	for _, n := range slices.Backward(b.order) {
		if err := b.differentiate(n); err != nil {
			return nil, err
		}
	}
	return b.collect()
}

// backpropagation is one walk over a graph.
type backpropagation struct {
	wrt   gorgonia.Nodes
	order []*gorgonia.Node                  // the nodes visited, each after its children
	leads map[*gorgonia.Node]bool           // of the nodes visited: whether a gradient there reaches one of wrt
	grads map[*gorgonia.Node]gorgonia.Nodes // the gradients that the users of a node have for it, and their sum once it is differentiated
}

// visit orders n after its children and finds out whether it leads to one of wrt.
func (b *backpropagation) visit(n *gorgonia.Node) bool {
	if leads, visited := b.leads[n]; visited {
		return leads
	}
	children := childrenOf(n.Graph(), n)
	var differentiable []bool
	if op, ok := n.Op().(gorgonia.SDOp); ok {
		differentiable = op.DiffWRT(len(children))
	}
	leads := slices.Contains(b.wrt, n)
	for i, child := range children {
		if b.visit(child) && i < len(differentiable) && differentiable[i] {
			leads = true
		}
	}
	b.leads[n] = leads
	b.order = append(b.order, n)
	return leads
}

// differentiate hands the gradient of n on to its children. All users of n have been differentiated before.
func (b *backpropagation) differentiate(n *gorgonia.Node) error {
	if !b.leads[n] || len(b.grads[n]) == 0 {
		return nil
	}
	if len(b.grads[n]) > 1 {
		sum, err := addAll("gradients", b.grads[n])
		if err != nil {
			return fmt.Errorf("ops: backpropagate: the gradients of %v: %w", n, err)
		}
		b.grads[n] = gorgonia.Nodes{sum}
	}
	op, ok := n.Op().(gorgonia.SDOp)
	children := childrenOf(n.Graph(), n)
	if !ok || !slices.ContainsFunc(children, func(c *gorgonia.Node) bool { return b.leads[c] }) {
		return nil
	}
	grads, err := op.SymDiff(children, n, b.grads[n][0])
	if err != nil {
		return fmt.Errorf("ops: backpropagate: %v: %w", n, err)
	}
	for i, child := range children {
		if b.leads[child] && i < len(grads) && grads[i] != nil {
			b.grads[child] = append(b.grads[child], grads[i])
		}
	}
	return nil
}

// collect lists the gradients of wrt.
func (b *backpropagation) collect() (gorgonia.Nodes, error) {
	var grads gorgonia.Nodes
	for _, w := range b.wrt {
		if len(b.grads[w]) != 1 {
			return nil, fmt.Errorf("ops: backpropagate: no output depends on %v: leave it out of wrt", w)
		}
		grads = append(grads, b.grads[w][0])
	}
	return grads, nil
}
