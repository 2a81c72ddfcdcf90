package config

import (
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
)

// Validate checks a config for training, one built in Go included. The error is an *Error with every problem: values out of range,
// values that contradict each other, and what this trainer does not do.
func (c Config) Validate() error { return failure(c.trainingProblems()) }

// ValidateNewModel checks a config for writing a new model without training it.
func (c Config) ValidateNewModel() error { return failure(c.newModelProblems()) }

// checks collects problems that concern one key each.
type checks struct{ problems []Problem }

// refuse reports a problem when bad is true.
func (k *checks) refuse(bad bool, key, format string, args ...any) {
	if bad {
		k.problems = append(k.problems, Problem{Key: key, Message: fmt.Sprintf(format, args...)})
	}
}

func (c Config) trainingProblems() []Problem {
	var k checks
	k.refuse(c.SequenceLen == 0, "sequence_len", "sequence_len is 0; it must be at least 2: a token and the one to predict")
	k.model(c)
	k.data(c)
	k.evaluation(c)
	k.schedule(c)
	return append(k.problems, c.sharedProblems()...)
}

// newModelProblems are those that matter where a new model is written and not trained.
func (c Config) newModelProblems() []Problem {
	var k checks
	k.refuse(len(c.Model) == 0, "model", "model is not given; write the new model's config.json keys below model")
	k.refuse(c.BaseModel != "", "base_model", "base_model is given (%s), which has weights; remove it to draw those of model (--set base_model=null)", c.BaseModel)
	k.output(c)
	return append(k.problems, c.sharedProblems()...)
}

// sharedProblems are those that also matter where a model is used without training, where sequence_len may be 0.
func (c Config) sharedProblems() []Problem {
	ranged := c
	if c.SequenceLen == 0 {
		ranged.SequenceLen = 2
	}
	k := checks{problems: rangeProblems(reflect.ValueOf(ranged), "")}
	k.refuse(c.SequenceLen > 0 && c.ContextParallelSize > c.SequenceLen, "context_parallel_size",
		"context_parallel_size is %d but a sequence has %d tokens (sequence_len); a rank would have none: use at most %d ranks", c.ContextParallelSize, c.SequenceLen, c.SequenceLen)
	k.refuse(c.SequenceLen > 0 && c.MicroBatchSize > math.MaxInt32/c.SequenceLen, "micro_batch_size",
		"micro_batch_size %d times sequence_len %d is more than 2,147,483,647 tokens in one pass; use gradient_accumulation_steps for larger steps", c.MicroBatchSize, c.SequenceLen)
	k.refuse(c.SamplePacking && c.Concatenate, "sample_packing",
		"sample_packing and concatenate are both true; keep sample_packing to pack documents that do not see each other, or concatenate to join them (--set concatenate=false drops it)")
	k.refuse(c.SamplePacking && c.SequenceLen == 0, "sample_packing", "sample_packing is true but sequence_len is not given; say how many tokens a pack has")
	k.ring(c)
	if c.RopeScaling != nil {
		k.rope(*c.RopeScaling)
	}
	return k.problems
}

// ring checks how the ranks are grouped. That ulysses_size divides the heads is checked where the model is known.
func (k *checks) ring(c Config) {
	ranks, group, inner := c.ContextParallelSize, c.UlyssesSize, max(c.RingInnerSize, 1)
	if ranks < 1 || group < 1 || inner < 1 { // reported as out of range
		return
	}
	k.refuse(ranks%group != 0, "ulysses_size",
		"ulysses_size is %d, which does not divide context_parallel_size, which is %d; use %s", group, ranks, divisors(ranks))
	k.refuse(ranks%group == 0 && ranks/group%inner != 0, "ring_inner_size",
		"ring_inner_size is %d, which does not divide the %d ranks of a ring (context_parallel_size %d / ulysses_size %d); use %s", inner, ranks/group, ranks, group, divisors(ranks/group))
}

// CheckHeads refuses a ulysses_size that the heads of the model cannot be dealt to.
func (c Config) CheckHeads(heads, kvHeads int) error {
	var k checks
	common := gcd(heads, kvHeads)
	k.refuse(common%max(c.UlyssesSize, 1) != 0, "ulysses_size",
		"ulysses_size is %d, which does not divide the model's %d query heads and %d KV heads; use %s", c.UlyssesSize, heads, kvHeads, divisors(gcd(common, c.ContextParallelSize)))
	return failure(k.problems)
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// divisors lists them as a choice: "1, 2 or 4".
func divisors(n int) string {
	var list []string
	for d := 1; d <= n; d++ {
		if n%d == 0 {
			list = append(list, strconv.Itoa(d))
		}
	}
	if len(list) < 2 {
		return strings.Join(list, "")
	}
	return strings.Join(list[:len(list)-1], ", ") + " or " + list[len(list)-1]
}

func (k *checks) model(c Config) {
	hasModel := len(c.Model) > 0
	k.refuse(c.BaseModel == "" && !hasModel, "base_model", "neither base_model nor model is given; name a Hugging Face folder in base_model, or write a new model's config.json keys below model")
	k.refuse(c.BaseModel != "" && hasModel, "base_model", "base_model and model are both given; keep base_model to fine-tune %s, or model to train from scratch (--set model=null drops one)", c.BaseModel)
	k.output(c)
	k.refuse(c.BaseModel != "" && c.OutputDir != "" && filepath.Clean(c.BaseModel) == filepath.Clean(c.OutputDir), "output_dir",
		"output_dir is base_model (%s), which the trained model would overwrite; choose another folder", c.BaseModel)
}

// output checks where a model is written to, and what a new one is written with.
func (k *checks) output(c Config) {
	k.refuse(len(c.Model) > 0 && c.TokenizerConfig == "", "tokenizer_config", "model needs tokenizer_config: the folder of the tokenizer.json to train with")
	k.refuse(c.OutputDir == "", "output_dir", "output_dir is empty; name the folder to write to")
}

func (k *checks) data(c Config) {
	k.refuse(len(c.Datasets) == 0, "datasets", `datasets is empty; give at least one, such as [{path: "data/*.jsonl", field: text}]`)
	for i, d := range c.Datasets {
		k.refuse(d.Path == "", fmt.Sprintf("datasets.%d", i), "datasets.%d has no path; give a file, a folder or a glob", i)
	}
	for i, d := range c.TestDatasets {
		k.refuse(d.Path == "", fmt.Sprintf("test_datasets.%d", i), "test_datasets.%d has no path; give a file, a folder or a glob", i)
	}
	k.refuse(c.ValSetSize > 1 && c.ValSetSize != math.Trunc(c.ValSetSize), "val_set_size",
		"val_set_size is %g; it must be a share below 1 or a whole number of documents", c.ValSetSize)
	k.refuse(c.ValSetSize > 0 && len(c.TestDatasets) > 0, "val_set_size", "val_set_size and test_datasets are both given; keep one of them")
}

func (k *checks) evaluation(c Config) {
	heldBack := c.ValSetSize > 0 || len(c.TestDatasets) > 0
	k.refuse(c.EvalSteps > 0 && !heldBack, "eval_steps", "eval_steps is %d but nothing is held back; set val_set_size or test_datasets, or eval_steps: 0", c.EvalSteps)
	if !c.LossByPosition {
		return
	}
	k.refuse(!heldBack, "loss_by_position", "loss_by_position needs held-back documents; set val_set_size or test_datasets")
	k.refuse(c.LossByPositionWindow > c.SequenceLen, "loss_by_position_window",
		"loss_by_position_window is %d but a sequence has %d tokens (sequence_len); use a window of at most that", c.LossByPositionWindow, c.SequenceLen)
}

func (k *checks) schedule(c Config) {
	k.refuse(c.WarmupSteps > 0 && c.WarmupRatio > 0, "warmup_steps",
		"warmup_steps is %d and warmup_ratio is %g; keep one of them (--set warmup_ratio=0 drops the other)", c.WarmupSteps, c.WarmupRatio)
	k.refuse(c.CosineMinLrRatio > 0 && c.LrScheduler != "cosine", "cosine_min_lr_ratio",
		"cosine_min_lr_ratio is %g but lr_scheduler is %s; remove it, or use lr_scheduler: cosine", c.CosineMinLrRatio, c.LrScheduler)
	k.refuse(c.MaxSteps == 0 && c.NumEpochs == 0, "max_steps", "neither max_steps nor num_epochs is given; say how long to train")
}

// rope checks that a type has the fields that it needs and none that it does not read.
func (k *checks) rope(r RopeScaling) {
	k.refuse(r.RopeType == "", "rope_scaling", "rope_scaling has no rope_type; it must be one of linear, llama3, yarn, default")
	stretched := r.RopeType == "linear" || r.RopeType == "llama3" || r.RopeType == "yarn"
	k.refuse(stretched && r.Factor == 0, "rope_scaling", "rope_scaling of type %s needs factor: how many times longer the context becomes", r.RopeType)
	if r.RopeType == "llama3" {
		k.refuse(r.LowFreqFactor == 0 || r.HighFreqFactor == 0, "rope_scaling", "rope_scaling of type llama3 needs low_freq_factor and high_freq_factor (Llama 3.1 has 1 and 4)")
		k.refuse(r.LowFreqFactor > 0 && r.HighFreqFactor > 0 && r.LowFreqFactor >= r.HighFreqFactor, "rope_scaling.low_freq_factor",
			"rope_scaling.low_freq_factor is %g; it must be below high_freq_factor, which is %g", r.LowFreqFactor, r.HighFreqFactor)
	}
	fast, slow := r.BetaFast, r.BetaSlow
	if fast == 0 {
		fast = 32
	}
	if slow == 0 {
		slow = 1
	}
	k.refuse(r.RopeType == "yarn" && slow >= fast, "rope_scaling.beta_slow", "rope_scaling.beta_slow is %g; it must be below beta_fast, which is %g", slow, fast)
	k.unread(r)
}

// unread refuses fields that the type would ignore.
func (k *checks) unread(r RopeScaling) {
	readers := map[string]string{
		"factor": "linear llama3 yarn", "original_max_position_embeddings": "llama3 yarn", "low_freq_factor": "llama3", "high_freq_factor": "llama3",
		"attention_factor": "yarn", "beta_fast": "yarn", "beta_slow": "yarn",
	}
	v := reflect.ValueOf(r)
	for i := range v.NumField() {
		name := keyOf(v.Type().Field(i))
		types, limited := readers[name]
		if !limited || v.Field(i).IsZero() || strings.Contains(types, r.RopeType) {
			continue
		}
		k.refuse(true, "rope_scaling."+name, "rope_scaling.%s is not read by rope_type %s, only by %s; remove it or change rope_type", name, r.RopeType, strings.ReplaceAll(types, " ", ", "))
	}
}
