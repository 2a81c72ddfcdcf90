package ops

import (
	"errors"
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Lint refuses graphs in which gorgonia v0.9.18 computes something else than what they say. Call it on every graph before
// compiling it. The error joins one line per node and says what to use instead; nil is a clean graph.
//
// What it finds: Reshape, Slice with a bound of 256 or more, SoftMax, LogSoftMax, InverseSqrt, LogSumExp, and different nodes of
// one 32-bit hash, which compiling would merge. What it cannot see: two nodes that gorgonia took for one when the second was added.
func Lint(g *gorgonia.ExprGraph) error {
	if g == nil {
		return errors.New("ops: lint: the graph is nil: pass the graph that holds the nodes")
	}
	var problems []error
	byHash := map[uint32]*gorgonia.Node{}
	for _, n := range g.AllNodes() {
		if fault := faultOf(g, n); fault != "" {
			problems = append(problems, fmt.Errorf("ops: lint: node %d (%v): %s", n.ID(), n, fault))
		}
		first, seen := byHash[n.Hashcode()]
		if !seen {
			byHash[n.Hashcode()] = n
		} else if first != n {
			problems = append(problems, fmt.Errorf("ops: lint: nodes %d (%v) and %d (%v) have one hash and would be merged: rename one of them or its inputs",
				first.ID(), first, n.ID(), n))
		}
	}
	return errors.Join(problems...)
}

// faultOf says what is wrong with a node's op and what to use instead, or nothing.
func faultOf(g *gorgonia.ExprGraph, n *gorgonia.Node) string {
	op := n.Op()
	if op == nil {
		return ""
	}
	if s, ok := op.(interface{ IsSlice() tensor.Slice }); ok {
		return faultOfSlice(s.IsSlice())
	}
	switch kind := fmt.Sprintf("%T", op); {
	case kind == "gorgonia.reshapeOp" || kind == "*gorgonia.reshapeOp":
		if children := childrenOf(g, n); len(children) > 0 && children[0].Shape().IsScalar() {
			return "" // gorgonia's own in the gradient of Sum; a scalar has no memory to share
		}
		return "Reshape shares its input's memory, which ops that work in place then destroy: give the nodes the final shape from the start"
	case kind == "*gorgonia.softmaxOp":
		return "SoftMax and LogSoftMax subtract a value that is not the row's maximum and overflow: use ops.CrossEntropy or ringattn.Attention"
	case op.String() == "invSqrt":
		return "the gradient of InverseSqrt is wrong: use Inverse(Sqrt(x)), or ops.RMSNorm"
	case isLogSumExp(g, n):
		return "LogSumExp takes the logarithm of the sum plus the maximum: use ops.CrossEntropy"
	}
	return ""
}

func faultOfSlice(s tensor.Slice) string {
	if s == nil || (s.Start() < 256 && s.End() < 256) {
		return ""
	}
	const fault = "the hash of a Slice keeps its bounds modulo 256, so [%d:%d] may be merged with another: keep the parts in nodes of their own"
	return fmt.Sprintf(fault, s.Start(), s.End())
}

// isLogSumExp recognises the composition that gorgonia.LogSumExp makes: Log(Add(Sum(..), Max(..))).
func isLogSumExp(g *gorgonia.ExprGraph, n *gorgonia.Node) bool {
	if n.Op().String() != "ln" {
		return false
	}
	found := map[string]bool{}
	for _, add := range childrenOf(g, n) {
		for _, part := range childrenOf(g, add) {
			if part.Op() != nil {
				found[fmt.Sprintf("%T", part.Op())] = true
			}
		}
	}
	return (found["gorgonia.sumOp"] || found["*gorgonia.sumOp"]) && (found["gorgonia.maxOp"] || found["*gorgonia.maxOp"])
}

func childrenOf(g *gorgonia.ExprGraph, n *gorgonia.Node) gorgonia.Nodes {
	var children gorgonia.Nodes
	for it := g.From(n.ID()); it != nil && it.Next(); {
		if child, ok := it.Node().(*gorgonia.Node); ok {
			children = append(children, child)
		}
	}
	return children
}
