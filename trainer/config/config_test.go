package config

import (
	"strings"
	"testing"
)

// minimal is the smallest file that trains.
const minimal = "base_model: m\ndatasets: [{path: a.txt}]\n"

// parse reads a file that must be right.
func parse(t *testing.T, text string, sets ...string) Config {
	t.Helper()
	c, err := Parse("run.yaml", []byte(text), sets)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestDefaultsFillWhatAFileLeavesOut(t *testing.T) {
	c := parse(t, minimal)
	if c.SequenceLen != 2048 || c.RingAttnFunc != "zigzag" || c.NumEpochs != 1 || c.Datasets[0].Field != "text" || c.Seed != 42 {
		t.Errorf("%+v", c)
	}
}

func TestEveryMistakeIsReportedWithItsPlace(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		sets []string
		want []string
	}{
		"unknown keys":   {"base_model: m\ncutoff_len: 5\nlearning_rat: 3\ndatasets: [{path: a, pth: 3}]\nfoo: 1\n", nil, []string{`run.yaml:2:1: unknown key "cutoff_len"; here it is called sequence_len`, `run.yaml:3:1: unknown key "learning_rat"; did you mean "learning_rate"?`, `run.yaml:4:22: unknown key "datasets.0.pth"; did you mean "path"?`, "run.yaml:5:1: unknown key \"foo\"; `train schema` lists the keys"}},
		"wrong types":    {minimal + "sequence_len: 12.5\nlearning_rate: abc\nconcatenate: 3\nmicro_batch_size: [1]\noutput_dir: 5\nseed: \"7\"\nring_timeout: 5\nrope_scaling: yarn\n", nil, []string{"run.yaml:3:15: sequence_len must be a whole number, not the number 12.5", `run.yaml:4:16: learning_rate must be a number, not the text "abc"`, "5:14: concatenate must be true or false, not the number 3", "6:19: micro_batch_size must be a number, not a list", "output_dir must be text (put it in quotes), not the number 5", "seed must be a number without quotes", "ring_timeout must be a time span with its unit", `rope_scaling must be a mapping of keys, not the text "yarn"`}},
		"not finite":     {minimal + "learning_rate: .nan\nweight_decay: .inf\n", nil, []string{"3:16: learning_rate must be a finite number", "4:15: weight_decay must be a finite number"}},
		"octal":          {minimal + "seed: 010\n", nil, []string{"3:7: seed must be a number without leading zeros"}},
		"plain paths":    {"base_model: m\ndatasets: [a.txt]\n", nil, []string{`2:12: datasets.0 must be a mapping of keys, not the text "a.txt"`}},
		"two documents":  {minimal + "---\nseed: 1\n", nil, []string{"run.yaml:3:1: a second document begins here"}},
		"empty":          {"# nothing\n", nil, []string{"run.yaml: the file is empty"}},
		"a list":         {"- a\n", nil, []string{"run.yaml:1:1: the file holds a list"}},
		"not YAML":       {"base_model: [\n", nil, []string{"run.yaml:2:1: not valid YAML: did not find expected node content"}},
		"a tab":          {"datasets:\n\t- path: a\n", nil, []string{"indent with spaces"}},
		"not UTF-8":      {"base_model: m\nseed: \xff\n", nil, []string{"run.yaml:2:7: the file is not UTF-8"}},
		"twice":          {minimal + "seed: 1\nseed: 2\n", nil, []string{`run.yaml:4:1: key "seed" is given twice, first in line 3`}},
		"aliases":        {"base_model: &a m\noutput_dir: *a\ndatasets: [{path: a}]\n", nil, []string{"run.yaml:2:13: output_dir is an alias"}},
		"merge":          {"<<: {seed: 1}\n", nil, []string{"merge keys and aliases are not supported"}},
		"ranges":         {minimal + "context_parallel_size: 0\nmicro_batch_size: -1\nlr_scheduler: cosin\nring_attn_func: ring\nval_set_size: 1.5\nadam_beta1: 1.5\nring_timeout: -5s\n", nil, []string{"3:24: context_parallel_size is 0; it must be at least 1", "micro_batch_size is -1; it must be at least 1", `did you mean "cosine"?`, "here it is called contiguous", "val_set_size is 1.5; it must be a share below 1 or a whole number of documents", "adam_beta1 is 1.5", "ring_timeout is -5s"}},
		"contradictions": {minimal + "model: {a: 1}\nwarmup_steps: 3\nwarmup_ratio: 0.1\nsequence_len: 4\ncontext_parallel_size: 5\nsample_packing: true\nconcatenate: true\neval_steps: 2\nattention_dropout: 1\nulysses_size: 2\n", nil, []string{"run.yaml:1:13: base_model and model are both given", "model needs tokenizer_config", "4:15: warmup_steps is 3 and warmup_ratio is 0.1", "context_parallel_size is 5 but a sequence has 4 tokens", "8:17: sample_packing and concatenate are both true; keep sample_packing", "eval_steps is 2 but nothing is held back", "11:20: attention_dropout is 1; it must be at least 0 and below 1", "12:15: ulysses_size is 2, which does not divide context_parallel_size, which is 5; use 1 or 5"}},
		"ways round":     {minimal + "context_parallel_size: 12\nulysses_size: 2\nring_inner_size: 4\nring_travel: pass-q\n", nil, []string{"ring_inner_size is 4, which does not divide the 6 ranks of a ring (context_parallel_size 12 / ulysses_size 2); use 1, 2, 3 or 6", "ring_travel is \"pass-q\"; it must be one of kv, q, auto; here it is called q"}},
		"dropout":        {minimal + "attention_dropout: half\n", nil, []string{"3:20: attention_dropout must be a number, not the text \"half\""}},
		"nothing given":  {"seed: 1\n", nil, []string{"run.yaml: neither base_model nor model is given", "run.yaml: datasets is empty"}},
		"rope":           {minimal + "rope_scaling: {type: linear, factor: 0.5}\n", nil, []string{`unknown key "rope_scaling.type"; here it is called rope_type`}},
		"rope fields":    {minimal + "rope_scaling: {rope_type: linear, beta_fast: 3}\n", nil, []string{"rope_scaling of type linear needs factor", "3:46: rope_scaling.beta_fast is not read by rope_type linear, only by yarn"}},
		"--set":          {minimal, []string{"seed", "lr=3", "seed=x", "datasets.5.path=a", "seed.x=3", "micro_batch_size=0"}, []string{"--set seed: write it as key=value", `--set lr=3: unknown key "lr"; here it is called learning_rate`, "--set datasets.5.path=a: datasets is a list with 1 entries"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("run.yaml", []byte(c.file), c.sets)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in\n%v", want, err)
				}
			}
			for _, word := range []string{"int64", "float64", "struct", "reflect", "main.", "config.Config", "!!"} {
				if strings.Contains(err.Error(), word) {
					t.Errorf("%q is a word of Go or of the parser in\n%v", word, err)
				}
			}
		})
	}
}

func TestYAMLsOwnSpellingsOfNumbersAndTruthAreRead(t *testing.T) {
	c := parse(t, minimal+"max_steps: 1e3\nseed: 1_000\nlearning_rate: 1\nconcatenate: yes\nshuffle_merged_datasets: off\neval_steps: null\nwarmup_steps:\n")
	if c.MaxSteps != 1000 || c.Seed != 1000 || c.LearningRate != 1 || !c.Concatenate || c.ShuffleMergedDatasets || c.EvalSteps != 0 {
		t.Errorf("%+v", c)
	}
}

// TestDropoutLeftOutIsNotZero: the model's own applies, and 0 switches it off.
func TestDropoutLeftOutIsNotZero(t *testing.T) {
	if c := parse(t, minimal); c.AttentionDropout != nil {
		t.Errorf("left out it is %v", *c.AttentionDropout)
	}
	for text, want := range map[string]float64{"0": 0, "0.25": 0.25} {
		c := parse(t, minimal+"attention_dropout: "+text+"\n")
		if c.AttentionDropout == nil || *c.AttentionDropout != want {
			t.Errorf("%s is read as %v", text, c.AttentionDropout)
		}
		if again := parse(t, string(c.YAML())); again.AttentionDropout == nil || *again.AttentionDropout != want {
			t.Errorf("%s is written as %s", text, c.YAML())
		}
	}
}

func TestUlyssesGroupsDivideTheHeads(t *testing.T) {
	c := parse(t, minimal+"context_parallel_size: 8\nulysses_size: 4\n")
	if err := c.CheckHeads(8, 4); err != nil {
		t.Error(err)
	}
	err := c.CheckHeads(8, 2)
	if want := "ulysses_size is 4, which does not divide the model's 8 query heads and 2 KV heads; use 1 or 2"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}
