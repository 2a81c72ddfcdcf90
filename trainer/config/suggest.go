package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// foreign maps the names that other trainers give our keys.
var foreign = map[string]string{
	// Hugging Face TrainingArguments and accelerate
	"model_name_or_path": "base_model", "per_device_train_batch_size": "micro_batch_size", "lr_scheduler_type": "lr_scheduler",
	"num_train_epochs": "num_epochs", "cp_size": "context_parallel_size", "rope_parameters": "rope_scaling", "torch_dtype": "save_dtype",
	"max_length": "sequence_len", "max_seq_length": "sequence_len", "warmup": "warmup_steps", "data_seed": "seed", "dtype": "save_dtype",
	// LLaMA-Factory
	"cutoff_len": "sequence_len", "hyper_parallel_cp_size": "context_parallel_size", "dataset": "datasets", "packing": "sample_packing",
	"val_size": "val_set_size", "rope_factor": "rope_scaling",
	// axolotl, older spellings
	"sequence_parallel_degree": "context_parallel_size", "batch_size": "micro_batch_size", "auto_resume_from_checkpoints": "resume_from_checkpoint",
	"sequence_length": "sequence_len", "tokenizer_path": "tokenizer_config", "eval_sample_packing": "sample_packing", "ulysses_degree": "ulysses_size", "ulysses_sequence_parallel_size": "ulysses_size", "attn_dropout": "attention_dropout", "attention_probs_dropout_prob": "attention_dropout",
	// torchtune, litgpt, torchtitan, nanoGPT
	"max_seq_len": "sequence_len", "clip_grad_norm": "max_grad_norm", "epochs": "num_epochs", "num_warmup_steps": "warmup_steps",
	"context_parallel_dim": "context_parallel_size", "keep_last_n_checkpoints": "save_total_limit", "enable_activation_checkpointing": "gradient_checkpointing",
	"checkpoint_dir": "base_model", "max_norm": "max_grad_norm", "lr_warmup_steps": "warmup_steps", "save_interval": "save_steps",
	"log_interval": "logging_steps", "out_dir": "output_dir", "context_parallel_degree": "context_parallel_size", "keep_latest_k": "save_total_limit",
	"log_freq": "logging_steps", "log_every_n_steps": "logging_steps", "max_context_length": "sequence_len", "activation_checkpointing": "gradient_checkpointing",
	"context_parallel_load_balancer": "ring_attn_func", "steps": "max_steps", "init_from": "base_model", "block_size": "sequence_len",
	"grad_clip": "max_grad_norm", "max_iters": "max_steps", "warmup_iters": "warmup_steps", "eval_interval": "eval_steps", "min_lr": "cosine_min_lr_ratio",
	"lr": "learning_rate", "beta1": "adam_beta1", "beta2": "adam_beta2", "eps": "adam_epsilon", "epsilon": "adam_epsilon", "eval_iters": "eval_batches",
	"max_eval_samples": "eval_batches", "gradient_accumulation": "gradient_accumulation_steps", "accumulation_steps": "gradient_accumulation_steps",
	// below rope_scaling and datasets
	"rope_scaling.type": "rope_type", "rope_scaling.scaling_factor": "factor", "rope_scaling.original_max_position": "original_max_position_embeddings",
	"rope_scaling.rope_theta": "rope_theta at the top of the file", "datasets.text_column": "field", "datasets.field_name": "field", "datasets.name": "path",
	"datasets.data_files": "path", "datasets.ds_type": "type",
}

// foreignValues maps the names that other trainers give our values.
var foreignValues = map[string]map[string]string{
	"ring_attn_func":  {"ring": "contiguous", "batch_ring": "contiguous", "batch_zigzag": "zigzag", "headtail": "zigzag", "stripe": "striped", "batch_stripe": "striped"},
	"ring_travel":     {"pass-kv": "kv", "pass_kv": "kv", "pass-q": "q", "pass_q": "q"},
	"device":          {"gpu": "cuda", "cuda:0": "cuda", "nvidia": "cuda"},
	"attention_dtype": {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "float": "float32"},
	"lr_scheduler":    {"constant_with_warmup": "constant", "cosine_with_min_lr": "cosine"},
	"save_dtype":      {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32", "half": "float16", "float": "float32"},
	"type":            {"json": "jsonl", "txt": "text", "pretrain": "completion"},
	"invalid_utf8":    {"ignore": "skip", "raise": "error", "strict": "error"},
}

// unsupported names keys that people paste from other trainers and that ask for something this one does not do.
var unsupported = map[string]string{
	"adapter": "adapters (LoRA) are not supported yet; remove it to train all weights", "lora_r": "adapters (LoRA) are not supported yet; remove it",
	"load_in_8bit": "quantised loading is not supported; remove it", "load_in_4bit": "quantised loading is not supported; remove it",
	"bf16": "training computes in float32; remove it, or choose attention_dtype or save_dtype", "fp16": "training computes in float32; remove it, or choose save_dtype",
	"tf32": "training computes in float32; remove it", "flash_attention": "attention is always exact and in blocks; remove it",
	"optimizer": "the optimizer is always AdamW; remove it", "optim": "the optimizer is always AdamW; remove it",
	"deepspeed": "the ring is all the parallelism there is; remove it", "fsdp": "the ring is all the parallelism there is; remove it",
	"heads_k_stride": "KV blocks travel with all their heads; remove it",
	"attention_bias": "it belongs below model, or to the config.json of base_model", "sliding_window": "it belongs below model, or to the config.json of base_model",
	"wandb_project": "metrics are written to output_dir/metrics.jsonl; remove it", "report_to": "metrics are written to output_dir/metrics.jsonl; remove it",
	"eval_batch_size": "evaluation takes sequences one by one; remove it, or set sample_packing", "per_device_eval_batch_size": "evaluation takes sequences one by one; remove it, or set sample_packing",
	"max_position_embeddings": "it follows from sequence_len; remove it, or write it below model",
}

// suggestion ends the message of an unknown key: what it is called here, what it resembles, or where the keys are listed.
func suggestion(name, prefix string, t reflect.Type) string {
	section := listName(prefix)
	if why, ok := unsupported[name]; ok && section == "" {
		return "; " + why
	}
	ours, ok := foreign[strings.TrimPrefix(section+"."+name, ".")]
	if ok {
		return "; here it is called " + ours
	}
	if near := nearest(name, keysOf(t)); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	if section != "" {
		return fmt.Sprintf("; %s has the keys %s", section, strings.Join(keysOf(t), ", "))
	}
	return "; `train schema` lists the keys"
}

// listName reduces a prefix such as datasets.0. to datasets.
func listName(prefix string) string {
	section, _, _ := strings.Cut(prefix, ".")
	return strings.TrimPrefix(section, "test_")
}

func keysOf(t reflect.Type) []string {
	keys := make([]string, t.NumField())
	for i := range keys {
		keys[i] = keyOf(t.Field(i))
	}
	return keys
}

// nearest returns the candidate that few edits make of name, or "". Longer names may differ in more places; case and the choice of
// _ or - do not count.
func nearest(name string, candidates []string) string {
	plain := strings.ReplaceAll(strings.ToLower(name), "-", "_")
	best, distance := "", max(1, len(plain)/4)+1
	for _, c := range candidates {
		if d := edits(plain, c); d < distance {
			best, distance = c, d
		}
	}
	if best != "" {
		return best
	}
	i := slices.IndexFunc(candidates, func(c string) bool { return len(plain) >= 5 && strings.HasPrefix(c, plain) })
	if i < 0 {
		return ""
	}
	return candidates[i]
}

// edits is the number of insertions, deletions, replacements and swaps of neighbours that make b of a (optimal string alignment).
func edits(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
