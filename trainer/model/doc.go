// Package model computes a Llama, Mistral, Qwen2, Qwen3, Gemma 2 or gpt-oss with one expert over a ring of ranks: losses, logits and
// gradients.
//
// Every rank has a Model over the same Params. A Batch is the whole one, [B, T] tokens; each rank takes the rows that the layout
// gives it and meets the others only in attention:
//
//	                 rank 0                          rank 1
//	ids       its S of T columns               its S of T columns
//	embed     x0 [B·S, hidden]                 x0 [B·S, hidden]
//	layer l   norm, q k v, RoPE at positions   the same
//	          in the document
//	          ring attention      ── K, V ──>  ring attention
//	          o, norm, SwiGLU                  the same
//	head      norm, logits, NLL of own rows    the same
//
// # Packed documents
//
// A Batch of one sequence may hold several documents (Batch.Documents): each sees itself alone and begins at position 0, so losses and
// gradients are those of the documents one by one. Graphs do not depend on where documents end, only on the rows of a rank. The
// balanced layout deals rows by the pairs that documents and windows leave in all layers together; all layers share its sharding.
//
// # A layer's graphs, used for all layers
//
// A gorgonia graph keeps every value it computes, so a model in one graph would keep everything of all layers. Here each rank
// builds the graphs of one layer and runs them once per layer, with that layer's weights bound by gorgonia.Let. The first graph is
// attention with what it reads, on all rows (one graph for each window that layers have); the second is what every row does for itself, and the rows go through it chunk by
// chunk, so that the wide activations of the feed-forward net are those of a chunk. The head takes the same chunks. Each graph has
// two programs: one runs forward only, the other forward and backward from a given gradient of the output.
//
//	forward    x0 → [layer 0] → x1 → [layer 1] → … → xL → head → NLL       kept: x0 … xL, attention's O and log-sum-exp
//	backward   dxL ← head;  for l = L-1 … 0:  run layer l again from x(l), attention replayed from O, then back: dx(l), dW(l)
//
// So a step keeps, for each layer that is still to go back through, its input and what attention saved, and for one layer everything
// else: activation checkpointing that never repeats the ring's forward. Options.Checkpoint has no other scheme to choose.
//
// # Weights and gradients
//
// Ranks of a process read one set of weights through tensor headers of their own, because gorgonia writes into headers. LossAndGrad
// hands gradients to a Sink parameter by parameter, in memory that the sink may keep until the next step; while a step goes back,
// the layers' gradients take the room that their inputs leave.
package model
