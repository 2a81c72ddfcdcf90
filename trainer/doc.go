// Package trainer fine-tunes a model on long sequences over a ring of ranks.
//
//	t, err := trainer.New(cfg, trainer.Options{})   // reads model, tokenizer and data; writes nothing
//	fmt.Println(t.Plan())                           // what will run: sizes, memory, bytes on the wire
//	result, err := t.Run(ctx)                       // trains, evaluates, saves
//
// # What happens in a step
//
// Every rank is a goroutine with the same program. A sequence of T tokens is cut over the W ranks by the layout; each rank runs
// its rows through the layers, and only attention needs the others:
//
//	          rank 0           rank 1           rank 2
//	tokens    0..3, 20..23     4..7, 16..19     8..15            zigzag, T = 24
//	layer     norm q k v       norm q k v       norm q k v
//	          attention  --KV-->  attention  --KV-->  attention --> back to rank 0
//	          mlp              mlp              mlp
//	loss      sum over own targets, then added up over the ranks
//	backward  the same in reverse; each parameter's gradient is added up over the ranks in rank order
//	update    once, on the parameters that the ranks of a process share
//
// With sample_packing a sequence holds several documents, which do not see each other, and the packs of a micro-batch are one sequence.
// Packs are made anew each epoch from the shuffled order, the same on every rank (package data). Attention's dropout follows from seed,
// micro-batch, layer and positions, so that it is the same for every ring and in a resumed run; evaluation has none.
//
// The loss is the sum over real targets divided by their number over all ranks and accumulation steps, so W ranks compute the
// loss and the gradients of one.
//
// # Stopping
//
// Stop asks for an end after the step in flight, or before the next document of an evaluation: a checkpoint is written and Run
// returns ErrInterrupted. Resumed from it, the run goes on as if it had never stopped: with as many ranks, bit for bit. A loss or
// gradient that is not finite ends the run before the update with ErrNotFinite, naming step and tensor; the last checkpoint stays.
//
// # What is written
//
// New writes nothing; what it refuses is marked ErrInput. Run takes the output folder, which must be free of other runs and models:
//
//	out/config.yaml  metrics.jsonl         from the start, a line a logged step
//	out/checkpoint-N/                      whole or not there: model, moments, place in the data (package checkpoint)
//	out/config.json  model.safetensors …   at the end, all files complete before the first appears
//	out/loss_by_position.png               where it was asked for
package trainer
