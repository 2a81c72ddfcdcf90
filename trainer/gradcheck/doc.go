// Package gradcheck proves that a whole model, over any ring, computes what it should.
//
//   - CheckModel compares logits, loss and every gradient with what another program computed for a model folder
//     (reference.safetensors beside the weights).
//   - Invariance compares loss and gradients of a small random model over W ranks with those of one rank.
//   - FiniteDifferences compares the gradients of such a model with differences of its loss.
//
// The checks of the attention op by itself are in ops/ringattn/gradcheck. Differences are divided by the largest expected magnitude
// of the tensor; NaN is never within a limit.
package gradcheck
