// Package ops holds the gorgonia ops of a transformer layer, forward and backward, in float32 and float64. With
// ops/ringattn they are all that a Llama, Mistral, Qwen2 or Qwen3 needs:
//
//	     ids                                                  x [N, D]
//	      │                                                    │─────────────┐
//	  Embedding                                             RMSNorm          │
//	      │ x [N, D]                             ┌─────────────┼──────────┐  │
//	┌───────────┐                              Linear q     Linear k   Linear v
//	│  layer    │╶ ╶ ╶ ╶ ╶ ╶ ╶ ╶ ╶ ╶ ╶ ╶ ╶ ╶ ╶   RoPE         RoPE         │  │
//	└───────────┘                                └──── ringattn.Attention ┘  │
//	     ...                                                 Linear o        │
//	      │                                                    │             │
//	   RMSNorm                                                Add ───────────┘
//	      │                                                    │─────────────┐
//	CrossEntropy ── labels                                  RMSNorm          │
//	      │                                          ┌─────────┴────────┐    │
//	scale · Σ NLL, and NLL of each row          Linear gate         Linear up
//	                                                 └───── SwiGLU ─────┘    │
//	                                                      Linear down        │
//	                                                          Add ───────────┘
//
// Gemma 2 takes ZeroCenteredRMSNorm, GeGLU, CappedCrossEntropy and Softcap in the places of RMSNorm, SwiGLU, CrossEntropy and bare
// logits; the experts of gpt-oss take Project and ClampedSwiGLU in those of Linear and SwiGLU.
//
// # Nodes
//
// All nodes are matrices [N, width]: N rows are tokens (of all sequences of a batch, one after the other), the columns of
// q, k and v are heads·D. So nothing has to be reshaped, transposed or sliced, which gorgonia cannot do reliably (see Lint).
// Weights have the shapes and names of Hugging Face files, [out, in] or [width]. N may be 0 where Backpropagate
// of this package makes the gradients.
//
// What changes from run to run and is no tensor, token ids, labels, rotations, is in an object that the op reads at each run:
// IDs, Labels, RoPETable.
//
// # Runs
//
// Each op computes all its gradients in one backward, at most once after each forward. Outputs and gradients are the op's own
// memory, allocated at the first run and written anew by every other one:
//
//   - Copy what must outlive the next run of the same graph. That includes what is bound as the input of that run: do
//     not Let the output of one run as the input of the next, copy it into the input's own tensor.
//   - Programs of one graph must not run at the same time. Different graphs may.
//
// Sums over rows and over the vocabulary have an order that depends on shapes only: a run gives the same bits with any
// number of threads.
//
// # Building
//
// Building graphs is not safe for concurrent use in gorgonia; hold BuildMutex (or use Build). Lint finds the nodes that gorgonia
// would get wrong. Two goroutines must never bind the same *tensor.Dense: make a header for each over the shared elements.
//
// # Errors
//
// Wrong shapes and dtypes are errors when the node is built, wrong ids when it runs. Errors of a run come wrapped by
// gorgonia's machine; Cause makes them fit for errors.Is. After an error, Reset the machine before it runs again.
package ops
