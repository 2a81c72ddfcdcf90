package checkpoint

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

const stateFile = "trainer_state.json"

// WriteState writes trainer_state.json.
func WriteState(dir string, state any) error {
	text, err := json.MarshalIndent(state, "", "  ")
	if err != nil {
		return fmt.Errorf("checkpoint: %s: %w", stateFile, err)
	}
	if err := os.WriteFile(filepath.Join(dir, stateFile), append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("checkpoint: %w", err)
	}
	return nil
}

// ReadState reads trainer_state.json into state, a pointer.
func ReadState(dir string, state any) error {
	path := filepath.Join(dir, stateFile)
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("checkpoint: %w; give a folder checkpoint-N of a run", err)
	}
	if err := json.Unmarshal(text, state); err != nil {
		return fmt.Errorf("checkpoint: %s: %w; resume from another checkpoint", path, err)
	}
	return nil
}
