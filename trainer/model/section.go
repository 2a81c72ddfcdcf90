package model

import (
	"errors"

	"github.com/ringgrad/ringgrad/ops"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// section is a part of a layer: a graph on some rows, with a program that runs it forward and one that runs it forward and back.
type section[T ops.Float] struct {
	in      gorgonia.Nodes // what flows in, [rows, width] each
	weights gorgonia.Nodes // nil where nothing depends on a weight
	out     *gorgonia.Node // what flows out, [rows, width]
	forward gorgonia.VM

	dOut    *gorgonia.Node
	dIn     gorgonia.Nodes
	dWeight gorgonia.Nodes
	full    gorgonia.VM

	// Gradients of weights that no op adds to lent memory are added after the run.
	byHand []bool
	lent   [][]T
}

// newSection adds the gradients to a graph and compiles both programs; ops.BuildMutex must be held.
func newSection[T ops.Float](in, weights gorgonia.Nodes, out *gorgonia.Node) (*section[T], error) {
	s := &section[T]{in: in, weights: weights, out: out}
	g := out.Graph()
	inputs := append(gorgonia.Nodes{}, in...)
	for _, w := range weights {
		if w != nil {
			inputs = append(inputs, w)
		}
	}
	var err error
	if s.forward, err = compileForward(g, inputs, out); err != nil {
		return nil, err
	}
	s.dOut = input[T](g, "dOut", out.Shape()...)
	grads, err := ops.Backpropagate(gorgonia.Nodes{out}, gorgonia.Nodes{s.dOut}, inputs)
	if err != nil {
		return nil, err
	}
	s.dIn, grads = grads[:len(in)], grads[len(in):]
	for _, w := range weights {
		var grad *gorgonia.Node
		if w != nil {
			grad, grads = grads[0], grads[1:]
		}
		s.dWeight = append(s.dWeight, grad)
		s.byHand = append(s.byHand, grad != nil && ops.Lend[T](grad, nil) != nil)
	}
	s.full, err = compileAll(g)
	return s, err
}

// bind gives the section what flows in, and its weights.
func (s *section[T]) bind(weights []*tensor.Dense, in ...[]T) error {
	for i, x := range in {
		if err := bind(s.in[i], header(x, s.in[i].Shape()...)); err != nil {
			return err
		}
	}
	for i, w := range weights {
		if s.weights[i] == nil {
			continue
		}
		if err := bind(s.weights[i], w); err != nil {
			return err
		}
	}
	return nil
}

// runForward returns what flows out. The memory is the graph's.
func (s *section[T]) runForward() ([]T, error) {
	if err := run(s.forward); err != nil {
		return nil, err
	}
	return data[T](s.out)
}

// runFull runs forward, and back from dOut.
func (s *section[T]) runFull(dOut []T) error {
	if err := bind(s.dOut, header(dOut, s.dOut.Shape()...)); err != nil {
		return err
	}
	if err := run(s.full); err != nil {
		return err
	}
	for i, n := range s.dWeight {
		if !s.byHand[i] || s.lent == nil {
			continue
		}
		grad, err := data[T](n)
		if err != nil {
			return err
		}
		ops.Accumulate(s.lent[i], grad)
	}
	return nil
}

// lend makes runs add the gradients of the weights to memory, or with nil to the graph's own again. What nothing depends on has no
// gradient to add.
func (s *section[T]) lend(memory [][]T) error {
	s.lent = memory
	for i, n := range s.dWeight {
		if n == nil || s.byHand[i] {
			continue
		}
		var m []T
		if memory != nil {
			m = memory[i]
		}
		if err := ops.Lend(n, m); err != nil {
			return err
		}
	}
	return nil
}

func (s *section[T]) close() error { return errors.Join(s.forward.Close(), s.full.Close()) }
