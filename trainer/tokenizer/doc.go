// Package tokenizer reads a Hugging Face tokenizer.json and turns text into token ids and back, with the ids of the
// Hugging Face tokenizers library.
//
//	text ─ added tokens cut out ─ normalizer ─ pre-tokenizer ─ words ─ BPE merges ─ ids ─ template (BOS, EOS)
//
// Two families are read: byte-level BPE as GPT-2, Llama 3 and Qwen use it, and the SentencePiece-like BPE with byte
// fallback of Llama 2. Any other part, option or regular expression is refused when the file is loaded, by its name and
// its path in the JSON: a tokenizer that is nearly right trains a model on the wrong ids without anybody noticing.
//
// The expensive step is merging. Three things keep it above a million characters a second on one core: the patterns of
// the known families are scanned by hand (the general path is a backtracking regular expression), words are cached, and
// a text without a pre-tokenizer is cut at every pair of symbols that no merge can ever join.
package tokenizer
