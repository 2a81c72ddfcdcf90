package metrics

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// cut removes the lines of steps after last and an unfinished last line. A file that needs no change is left alone.
func cut(path string, last int) error {
	_ = os.Remove(temporary(path)) // of a cut that was killed
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	kept, err := keep(text, last)
	if err != nil {
		return fmt.Errorf("metrics: %s: %w", path, err)
	}
	if bytes.Equal(kept, text) {
		return nil
	}
	if err := replace(path, kept); err != nil {
		return fmt.Errorf("metrics: %w", err)
	}
	return nil
}

// keep returns the lines of steps up to last, each with its newline. A line without one, at the end, is what a kill in the middle
// of a write leaves; the beginning of an object is no JSON, so it cannot be taken for a whole line.
func keep(text []byte, last int) ([]byte, error) {
	var kept []byte
	number := 0
	for line := range bytes.Lines(text) {
		number++
		var step struct {
			Step *int `json:"step"`
		}
		err := json.Unmarshal(line, &step)
		unfinished := !bytes.HasSuffix(line, []byte("\n"))
		if err == nil && step.Step == nil {
			err = errors.New("there is no step")
		}
		switch {
		case err != nil && unfinished:
			return kept, nil
		case err != nil:
			return nil, fmt.Errorf("line %d is not one of a run's metrics: %w; repair it or move the file away", number, err)
		case *step.Step > last:
			continue
		}
		kept = append(kept, line...)
		if unfinished {
			kept = append(kept, '\n')
		}
	}
	return kept, nil
}

// temporary is where a new file is written before it takes path's place.
func temporary(path string) string {
	return filepath.Join(filepath.Dir(path), ".tmp-"+filepath.Base(path))
}

// replace puts text in place of the file: a new file is written, synced, and renamed.
func replace(path string, text []byte) error {
	f, err := os.Create(temporary(path))
	if err != nil {
		return err
	}
	_, writeErr := f.Write(text)
	if err := errors.Join(writeErr, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), path)
}
