package ops

import (
	"errors"
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// plan is what a public function has found out about its nodes.
type plan struct {
	name string
	in   []*gorgonia.Node
	out  tensor.Shape
}

// operand is one input as its public function wants it.
type operand struct {
	role string // its name in messages
	node *gorgonia.Node
	dims int
}

// check refuses nodes that are nil, of other dims than wanted, or not all of one float dtype.
func check(name string, operands ...operand) error {
	var problems []error
	for _, o := range operands {
		switch {
		case o.node == nil:
			problems = append(problems, fmt.Errorf("ops: %s: %s is nil: pass a node", name, o.role))
		case o.node.Dims() != o.dims:
			problems = append(problems, fmt.Errorf("ops: %s: %s has shape %v: want %d dims", name, o.role, o.node.Shape(), o.dims))
		}
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	want := operands[0].node.Dtype()
	if want != tensor.Float32 && want != tensor.Float64 {
		return fmt.Errorf("ops: %s: %s is %v: want float32 or float64", name, operands[0].role, want)
	}
	for _, o := range operands[1:] {
		if got := o.node.Dtype(); got != want {
			problems = append(problems, fmt.Errorf("ops: %s: %s is %v but %s is %v: make both one dtype", name, o.role, got, operands[0].role, want))
		}
	}
	return errors.Join(problems...)
}

// build applies the rule of the nodes' dtype.
func build(p plan, r32 rule[float32], r64 rule[float64]) (*gorgonia.Node, error) {
	if p.in[0].Dtype() == tensor.Float32 {
		return apply(p, r32)
	}
	return apply(p, r64)
}
