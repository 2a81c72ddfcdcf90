package config

import (
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var configType = reflect.TypeFor[Config]()

// TestForeignNamesLeadToKeysThatExist keeps the tables true when keys are renamed.
func TestForeignNamesLeadToKeysThatExist(t *testing.T) {
	sections := map[string][]string{"": keysOf(configType), "rope_scaling": keysOf(reflect.TypeFor[RopeScaling]()), "datasets": keysOf(reflect.TypeFor[Dataset]())}
	for name, ours := range foreign {
		section, key, below := strings.Cut(name, ".")
		if !below {
			section, key = "", name
		}
		if slices.Contains(sections[section], key) {
			t.Errorf("%s is a key of ours", name)
		}
		if first, _, _ := strings.Cut(ours, " "); !slices.Contains(sections[section], first) && !slices.Contains(sections[""], first) {
			t.Errorf("%s leads to %s, which is no key", name, ours)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(unsupported)) {
		if slices.Contains(sections[""], name) {
			t.Errorf("%s is called unsupported and is a key", name)
		}
	}
}

func TestTheNearestKeyIsFoundThroughTypos(t *testing.T) {
	for typo, want := range map[string]string{
		"learning_rat": "learning_rate", "sequnece_len": "sequence_len", "Seed": "seed", "context-parallel-size": "context_parallel_size",
		"micro_batchsize": "micro_batch_size", "ring_attn_fun": "ring_attn_func", "warmup_step": "warmup_steps", "save_step": "save_steps",
		"sead": "seed", "xyz": "", "gradient_acc": "gradient_accumulation_steps", "q": "",
	} {
		if got := nearest(typo, keysOf(configType)); got != want {
			t.Errorf("%s: %q, want %q", typo, got, want)
		}
	}
}

func TestEditsCountsInsertionsDeletionsReplacementsAndSwaps(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "ab", 2}, {"ab", "", 2}, {"abc", "abd", 1}, {"abc", "acb", 1}, {"kitten", "sitting", 3}, {"abcd", "badc", 2}} {
		if got := edits(c.a, c.b); got != c.want {
			t.Errorf("edits(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
