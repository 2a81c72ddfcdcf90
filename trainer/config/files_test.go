package config

import (
	"bytes"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const configs = "../../configs"

func TestTheConfigsOfTheRepositoryAreRightAndTellTheirSchema(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(configs, "*.yaml"))
	if err != nil || len(paths) < 2 {
		t.Fatalf("%v, %v: want base.yaml and long.yaml", paths, err)
	}
	for _, path := range paths {
		load := Load
		if strings.HasSuffix(path, "-random.yaml") { // for train init
			load = LoadNewModel
		}
		if _, err := load(path, nil); err != nil {
			t.Error(err)
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(text), "# yaml-language-server: $schema=schema.json\n") {
			t.Errorf("%s does not begin with the line that tells editors its schema", path)
		}
	}
}

// TestLongTrainsOnNothingThatBaseHeldBack: both must name the same documents and split them alike, or the table that long.yaml
// ends with would judge the model on what it was trained on.
func TestLongTrainsOnNothingThatBaseHeldBack(t *testing.T) {
	base, err := Load(filepath.Join(configs, "base.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	long, err := Load(filepath.Join(configs, "long.yaml"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(base.Datasets, long.Datasets); diff != "" {
		t.Errorf("datasets differ: %s", diff)
	}
	if base.ValSetSize != long.ValSetSize || base.Seed != long.Seed {
		t.Errorf("held back: %v with seed %d, and %v with seed %d", base.ValSetSize, base.Seed, long.ValSetSize, long.Seed)
	}
}

func TestTheSchemaInConfigsIsCurrent(t *testing.T) {
	want, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(configs, "schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("configs/schema.json is not what keys.go says; run go generate ./trainer/config")
	}
}

func TestTheTableInTheReadmeIsCurrent(t *testing.T) {
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Skipf("SKIPPED: no README: %v", err)
	}
	if !bytes.Equal(InsertTable(readme), readme) {
		t.Error("the table of keys in README.md is not what keys.go says; run go generate ./trainer/config")
	}
}

func TestEveryKeyIsDescribed(t *testing.T) {
	for _, typ := range []reflect.Type{reflect.TypeFor[Config](), reflect.TypeFor[Dataset](), reflect.TypeFor[RopeScaling]()} {
		for field := range typ.Fields() {
			if text := descriptions()[typ.Name()+"."+field.Name]; len(text) < 15 || !strings.HasSuffix(text, ".") {
				t.Errorf("%s has the description %q; write a sentence above it in keys.go", keyOf(field), text)
			}
		}
	}
}

func TestTheTableNamesEveryKeyOnce(t *testing.T) {
	table := MarkdownTable()
	for _, key := range []string{"base_model", "datasets[].invalid_utf8", "test_datasets", "rope_scaling.beta_slow", "resume_from_checkpoint", "attention_dropout"} {
		if n := strings.Count(table, "| `"+key+"` |"); n != 1 {
			t.Errorf("%s stands in %d lines", key, n)
		}
	}
	if !strings.Contains(table, "| `ring_timeout` | `10m0s` |") {
		t.Error("no default of ring_timeout")
	}
}

func TestOnlyTextBetweenTheMarksIsReplaced(t *testing.T) {
	text := "a\n" + tableBegin + "old\n" + tableEnd + "\nb\n"
	got := string(InsertTable([]byte(text)))
	if got != "a\n"+tableBegin+MarkdownTable()+tableEnd+"\nb\n" {
		t.Errorf("%s", got)
	}
	if plain := []byte("no marks"); !bytes.Equal(InsertTable(plain), plain) {
		t.Error("a text without marks was changed")
	}
}
