package trainer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/ringgrad/ringgrad/trainer/config"
	"github.com/ringgrad/ringgrad/trainer/hf"
	"github.com/ringgrad/ringgrad/trainer/model"
)

// Created is a model that was written; the JSON form of `train init --json`.
type Created struct {
	Model      string `json:"model"` // its folder
	ModelType  string `json:"model_type"`
	Parameters int64  `json:"parameters"`
	DType      string `json:"dtype"`
	Seed       int64  `json:"seed"`
	Bytes      int64  `json:"bytes"` // of all files
}

// CreateModel writes the model that a training of cfg's model would begin with, random weights drawn from seed, as a Hugging Face
// folder in save_dtype with the tokenizer of tokenizer_config. It appears whole as output_dir, which must not exist, or not at all.
// When ctx ends, the error is its cause.
func CreateModel(ctx context.Context, cfg config.Config) (Created, error) {
	m, err := newModelOf(cfg)
	if err != nil {
		return Created{}, inputError{err}
	}
	dir := filepath.Clean(cfg.OutputDir)
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return Created{}, inputError{fmt.Errorf("trainer: output_dir %s cannot be made: %w; choose a folder that you may write to", dir, err)}
	}
	unfinished, err := os.MkdirTemp(filepath.Dir(dir), ".tmp-"+filepath.Base(dir)+"-")
	if err != nil {
		return Created{}, inputError{fmt.Errorf("trainer: output_dir %s cannot be made: %w; choose a folder that you may write to", dir, err)}
	}
	created := Created{Model: dir, ModelType: m.ModelType, Parameters: int64(m.NumParameters()), DType: cfg.SaveDtype, Seed: cfg.Seed}
	if created.Bytes, err = write(ctx, unfinished, cfg, m); err == nil {
		err = os.Rename(unfinished, dir)
	}
	if err != nil {
		return Created{}, errors.Join(fmt.Errorf("trainer: the model could not be written: %w", err), os.RemoveAll(unfinished))
	}
	return created, nil
}

// newModelOf checks everything that is given, and that nothing would be overwritten.
func newModelOf(cfg config.Config) (hf.Config, error) {
	if err := cfg.ValidateNewModel(); err != nil {
		return hf.Config{}, err
	}
	m, err := hf.ConfigFromMap(cfg.Model)
	if err != nil {
		return m, err
	}
	if _, err := loadTokenizer(cfg.TokenizerConfig, m); err != nil {
		return m, err
	}
	if _, err := os.Lstat(cfg.OutputDir); err == nil {
		return m, fmt.Errorf("trainer: output_dir %s exists, and nothing is overwritten; choose another output_dir, or remove it", cfg.OutputDir)
	}
	return m, nil
}

// write draws and saves the model, and returns the size of its files.
func write(ctx context.Context, dir string, cfg config.Config, m hf.Config) (int64, error) {
	params := model.Init[float32](m, cfg.Seed)
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	folder := hf.Folder{Config: m, Tensors: params.HF(), DType: cfg.SaveDtype, SourceDir: cfg.TokenizerConfig}
	if err := errors.Join(hf.Save(dir, folder), os.Chmod(dir, 0o755)); err != nil {
		return 0, err
	}
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	items, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	size := int64(0)
	for _, item := range items {
		info, err := item.Info()
		if err != nil {
			return 0, err
		}
		size += info.Size()
	}
	return size, nil
}
