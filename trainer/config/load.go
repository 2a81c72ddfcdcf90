package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"
)

// Load reads a run's file, applies --set arguments (key=value, nested keys with dots) and checks the result. The error is an *Error
// that holds every problem, or one that wraps why the file cannot be read.
func Load(path string, sets []string) (Config, error) {
	data, err := read(path)
	if err != nil {
		return Config{}, err
	}
	return Parse(path, data, sets)
}

func read(path string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("config: %s does not exist; give the path of a YAML file, for example configs/long.yaml: %w", path, fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	return data, nil
}

// Parse is Load for a file that is in memory; errors call it name.
func Parse(name string, data []byte, sets []string) (Config, error) {
	doc, err := readDocument(name, data)
	if err != nil {
		return Config{}, err
	}
	return doc.config(sets, Default(), Config.trainingProblems)
}

// LoadNewModel is Load for writing a new model without training it: of the file's keys only model and those that say how it is
// saved must be there.
func LoadNewModel(path string, sets []string) (Config, error) {
	data, err := read(path)
	if err != nil {
		return Config{}, err
	}
	doc, err := readDocument(path, data)
	if err != nil {
		return Config{}, err
	}
	return doc.config(sets, Default(), Config.newModelProblems)
}

// ForModel gives the settings for using a model folder without training it (evaluation, generation): the defaults with the folder
// as base_model, no sequence_len (0: take documents whole), and --set arguments over them.
func ForModel(dir string, sets []string) (Config, error) {
	base := Default()
	base.BaseModel = dir
	base.SequenceLen = 0
	return emptyDocument().config(sets, base, Config.sharedProblems)
}

// config decodes the document and the arguments over base, and checks what came out. A key that could not be read is not
// checked: its problem is already told.
func (d *document) config(sets []string, base Config, check func(Config) []Problem) (Config, error) {
	problems := d.apply(sets)
	c := base
	dec := &decoder{doc: d, at: map[string]Problem{}}
	dec.config(&c)
	problems = append(problems, dec.problems...)
	told := map[string]bool{}
	for _, p := range problems {
		told[section(p.Key)] = true
	}
	c.complete()
	for _, p := range check(c) {
		if !told[section(p.Key)] {
			problems = append(problems, dec.locate(p))
		}
	}
	if err := failure(problems); err != nil {
		return Config{}, err
	}
	return c, nil
}

// section is the top key of a path.
func section(key string) string {
	top, _, _ := strings.Cut(key, ".")
	return top
}

// invalidUTF8 returns line and column of the first byte that is no UTF-8.
func invalidUTF8(data []byte) (line, column int, found bool) {
	line, column = 1, 1
	for len(data) > 0 {
		r, size := utf8.DecodeRune(data)
		if r == utf8.RuneError && size <= 1 {
			return line, column, true
		}
		column++
		if r == '\n' {
			line, column = line+1, 1
		}
		data = data[size:]
	}
	return 0, 0, false
}
