package trainer

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/ringgrad/ringgrad/trainer/checkpoint"
	"github.com/ringgrad/ringgrad/trainer/data"
	"github.com/ringgrad/ringgrad/trainer/hf"
)

// stateVersion is the form of trainer_state.json.
const stateVersion = 1

// savedState is trainer_state.json.
type savedState struct {
	Version  int         `json:"version"`
	Step     int         `json:"global_step"`
	Epoch    float64     `json:"epoch"`
	MaxSteps int         `json:"max_steps"`
	Tokens   int64       `json:"tokens"`
	Seconds  float64     `json:"seconds,omitempty"`
	Loss     float64     `json:"loss"`
	EvalLoss *float64    `json:"eval_loss,omitempty"`
	Pending  bool        `json:"eval_pending,omitempty"`
	Cursor   data.Cursor `json:"data_cursor"`
	Data     *dataState  `json:"data,omitempty"`
	Seed     int64       `json:"seed"`
	// AttentionDtype is missing in states that were written when there was only float32.
	AttentionDtype string `json:"attention_dtype,omitempty"`
	// AttentionDropout is missing where there is none.
	AttentionDropout float64   `json:"attention_dropout,omitempty"`
	Position         *Position `json:"loss_by_position,omitempty"` // measured before the first step
}

// dataState is what the order of training sequences depends on besides the seed. A cursor means nothing in other data.
type dataState struct {
	SequenceLen int     `json:"sequence_len"`
	Concatenate bool    `json:"concatenate"`
	Excess      string  `json:"excess_length_strategy"`
	ValSetSize  float64 `json:"val_set_size"`
	Shuffle     bool    `json:"shuffle_merged_datasets"`
	SHA256      string  `json:"sha256"` // of all training sequences
	Packing     bool    `json:"sample_packing,omitempty"`
}

func (r *run) dataState() dataState {
	if r.dataSum == "" {
		r.dataSum = sum(r.data.Train)
	}
	c := r.cfg
	return dataState{c.SequenceLen, c.Concatenate, c.ExcessLengthStrategy, c.ValSetSize, c.ShuffleMergedDatasets, r.dataSum, c.SamplePacking}
}

// sum identifies a split's sequences by length and tokens.
func sum(split *data.Split) string {
	h := sha256.New()
	var bytes []byte
	for i := range split.Len() {
		ids := split.Sequence(i).IDs
		bytes = binary.LittleEndian.AppendUint32(bytes[:0], uint32(len(ids)))
		for _, id := range ids {
			bytes = binary.LittleEndian.AppendUint32(bytes, uint32(id))
		}
		_, _ = h.Write(bytes)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// difference names the first setting that makes two orders of sequences different.
func (d dataState) difference(now dataState) error {
	for _, field := range []struct {
		name      string
		then, now any
	}{
		{"sequence_len", d.SequenceLen, now.SequenceLen},
		{"concatenate", d.Concatenate, now.Concatenate},
		{"sample_packing", d.Packing, now.Packing},
		{"excess_length_strategy", d.Excess, now.Excess},
		{"val_set_size", d.ValSetSize, now.ValSetSize},
		{"shuffle_merged_datasets", d.Shuffle, now.Shuffle},
	} {
		if field.then != field.now {
			return fmt.Errorf("%s was %v and is %v now: its place in the data means nothing there; set %s=%v", field.name, field.then, field.now, field.name, field.then)
		}
	}
	if d.SHA256 != now.SHA256 {
		return errors.New("the training data have changed since (files of datasets, or the tokenizer); give the same ones, or start anew from its folder as base_model")
	}
	return nil
}

// resume puts the run where a checkpoint left it; "" and the config's resume_from_checkpoint may start anew.
func (r *run) resume(from string) error {
	if from == "" {
		from = r.cfg.ResumeFromCheckpoint
	}
	r.mayStartAnew = from == "auto"
	path, err := findCheckpoint(from, r.cfg.OutputDir)
	if err != nil || path == "" {
		return err
	}
	if err := checkpoint.Verify(path); err != nil {
		return err
	}
	var s savedState
	if err := checkpoint.ReadState(path, &s); err != nil {
		return err
	}
	if err := r.continues(s); err != nil {
		return fmt.Errorf("trainer: cannot resume from %s: %w", path, err)
	}
	if err := r.readCheckpoint(path); err != nil {
		return err
	}
	r.resumedFrom = path
	r.state = state{
		step: s.Step, cursor: s.Cursor, tokens: s.Tokens, lastLoss: s.Loss, evalLoss: s.EvalLoss, evalPending: s.Pending, position: s.Position,
		before: time.Duration(s.Seconds * float64(time.Second)), onDisk: sameFolder(filepath.Dir(path), r.cfg.OutputDir),
	}
	if s.MaxSteps != r.steps {
		r.note("%s was made on the way to %d steps; this run ends at %d, and the learning rate follows that", path, s.MaxSteps, r.steps)
	}
	return nil
}

// findCheckpoint returns the folder to resume from, "" for none.
func findCheckpoint(from, outputDir string) (string, error) {
	switch from {
	case "":
		return "", nil
	case "latest", "auto":
		entry, err := checkpoint.Latest(outputDir)
		if from == "auto" && errors.Is(err, checkpoint.ErrNone) {
			return "", nil
		}
		return entry.Path, err
	}
	return filepath.Clean(from), nil
}

// continues tells why this run is not the continuation of the one that was saved, apart from its model.
func (r *run) continues(s savedState) error {
	switch {
	case s.Version != stateVersion:
		return fmt.Errorf("its trainer_state.json is of version %d, this program reads %d", s.Version, stateVersion)
	case s.Step < 0 || s.Step > r.steps:
		return fmt.Errorf("it is at step %d, beyond the %d steps of this run; raise max_steps", s.Step, r.steps)
	case s.Seed != r.cfg.Seed:
		return fmt.Errorf("it was made with seed %d, this run has %d: the data would come in another order; set seed=%d", s.Seed, r.cfg.Seed, s.Seed)
	}
	if then, now := cmp.Or(s.AttentionDtype, "float32"), r.cfg.AttentionDtype; then != now {
		return fmt.Errorf("it was made with attention_dtype %s, this run has %s: the rest would round otherwise; set attention_dtype=%s, or start anew from its folder as base_model", then, now, then)
	}
	if then, now := s.AttentionDropout, r.dropout(); then != now {
		return fmt.Errorf("it was made with attention_dropout %g, this run has %g; set attention_dropout=%g, or start anew from its folder as base_model", then, now, then)
	}
	if s.Data != nil {
		if err := s.Data.difference(r.dataState()); err != nil {
			return err
		}
	}
	if err := r.loader().Restore(s.Cursor); err != nil {
		return err
	}
	return r.continuesTable(s)
}

// continuesTable wants the columns of loss by position that can only be measured before the first step.
func (r *run) continuesTable(s savedState) error {
	p := s.Position
	switch {
	case !r.cfg.LossByPosition || s.Step == 0 && p == nil:
		return nil
	case p == nil:
		return errors.New("loss_by_position was not asked for when that run began, and the model has changed since; set loss_by_position=false, or start anew")
	case p.Window != r.cfg.LossByPositionWindow:
		return fmt.Errorf("its loss by position was measured with a window of %d; set loss_by_position_window=%d", p.Window, p.Window)
	case p.Documents != len(r.longDocuments):
		return fmt.Errorf("its loss by position was measured on %d documents, now there are %d; set loss_by_position_documents=%d", p.Documents, len(r.longDocuments), p.Documents)
	}
	return nil
}

// readCheckpoint reads parameters and moments over the ones that were prepared.
func (r *run) readCheckpoint(path string) error {
	found, err := hf.ReadConfig(path)
	if err != nil {
		return err
	}
	if err := sameModel(found, r.model); err != nil {
		return fmt.Errorf("trainer: cannot resume from %s: %w; give the config that it was trained with, or start anew in another output_dir", path, err)
	}
	weights, err := hf.LoadWeightsInto(path, r.model, func(p hf.Parameter) []float32 {
		t, _ := r.params.Get(p.Name)
		return t.Data
	})
	if err != nil {
		return err
	}
	if embedding, ok := r.params.Get(hf.EmbeddingName); ok { // a head that stands for it lies elsewhere
		copy(embedding.Data, weights[hf.EmbeddingName].Data)
	}
	return checkpoint.ReadOptimizer(path, r.dealt.share, r.model.Parameters(), r.moments)
}

// sameModel names the first difference that makes two configs different models.
func sameModel(got, want hf.Config) error {
	there := modelFields(got)
	for i, field := range modelFields(want) {
		if there[i] != field {
			return fmt.Errorf("%s is %v there and %v in this run", field.name, there[i].value, field.value)
		}
	}
	return nil
}

type modelField struct {
	name  string
	value any
}

// modelFields are what makes a model another one.
func modelFields(c hf.Config) []modelField {
	return []modelField{
		{"model_type", c.ModelType},
		{"hidden_size", c.HiddenSize},
		{"intermediate_size", c.IntermediateSize},
		{"num_hidden_layers", c.NumLayers},
		{"num_attention_heads", c.NumHeads},
		{"num_key_value_heads", c.NumKVHeads},
		{"head_dim", c.HeadDim},
		{"vocab_size", c.VocabSize},
		{"tie_word_embeddings", c.TieWordEmbeddings},
		{"rms_norm_eps", c.RMSNormEps},
		{"RoPE", c.RoPE},
		{"sliding_window by layer", fmt.Sprint(c.Windows)},
		{"softmax scale", c.SoftmaxScale},
		{"attn_logit_softcapping", c.AttentionSoftcap},
		{"final_logit_softcapping", c.LogitSoftcap},
		{"swiglu_alpha", c.GateAlpha},
		{"swiglu_limit", c.GateLimit},
	}
}
