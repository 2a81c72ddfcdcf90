// Package gradcheck proves that attention and its gradients are right, and finds out when they are not.
//
// Three checks, each usable from a test and from `train gradcheck`:
//
//   - CheckGolden runs golden files, cases that another program computed, through the op for every ring size, layout,
//     dtype and way through the ring, and compares out, lse, dq, dk, dv, and d_sinks where there are sinks.
//   - Suite compares the op with the float64 reference ringattn.Dense over a table of shapes, masks and other options (masks.go),
//     layouts, ring sizes and ways, with finite differences, and measures its float32 error. CheckShape does it for one
//     configuration, which has no option but causal order.
//   - Graph compares the gradients of anybody's gorgonia graph with finite differences. It also runs the graph twice and
//     looks whether a run has overwritten an input: gorgonia ops that work in place can do both kinds of harm silently.
//
// A report says ok only when every figure is within its limit. NaN is never within a limit.
package gradcheck
