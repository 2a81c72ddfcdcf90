// Package data turns files of text into the batches of token ids that a model is trained on.
//
//	paths ─ globs ─ files ─ documents ─ token ids ─┬─ held-back documents ─ sequences
//	                                               └─ training documents  ─ sequences ─ Loader ─ batches [B, T]
//
// A document is a plain file or a line of JSONL. A sequence is what the model sees at once: a document of its own, or a cut
// of all documents joined to one stream. With LoaderOptions.PackLength a row of a batch is a pack of several sequences that do not see
// each other. Order depends on nothing but the sorted paths and the seed, so that a run can be
// repeated and resumed exactly. Nothing is left out silently: what a document is dropped for is either an error with file
// and line, or asked for by an option and counted in Counts.
package data
