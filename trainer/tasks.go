package trainer

import (
	"context"
	"fmt"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/hosts"
	"github.com/ringgrad/ringgrad/trainer/config"
	"github.com/ringgrad/ringgrad/trainer/data"
	"github.com/ringgrad/ringgrad/trainer/eval"
	"github.com/ringgrad/ringgrad/trainer/generate"
	"github.com/ringgrad/ringgrad/trainer/hf"
	"github.com/ringgrad/ringgrad/trainer/model"
	"github.com/ringgrad/ringgrad/trainer/tokenizer"
)

// EvalOptions of Evaluate.
type EvalOptions struct {
	Model    string   // Hugging Face folder
	Data     string   // path or glob
	Field    string   // of JSONL; "" is text
	BinSize  int      // tokens in a position bin; 0 makes about eight bins
	Set      []string // key=value of config keys
	Progress func(done, total int)

	Processes dist.Engine // as Options.Processes; every process gets the result
}

// Evaluate measures a model on documents, one by one or with sample_packing several in a pass, over the ring that the config keys ask
// for.
func Evaluate(ctx context.Context, o EvalOptions) (eval.Result, error) {
	m, err := loadModel(o.Model, o.Set)
	if err != nil {
		return eval.Result{}, inputError{err}
	}
	documents, err := m.documents(o)
	if err != nil {
		return eval.Result{}, inputError{err}
	}
	var result eval.Result
	err = m.onMesh(ctx, o.Processes, func(ctx context.Context, rank *model.Model[float32], at mesh) error {
		options := eval.Options{BinSize: o.BinSize, Progress: o.Progress, Packs: m.packs(documents), Rings: at.evaluating()}
		r, err := eval.Ring(ctx, rank, at.ring, documents, options)
		if at.leads() {
			result = r
		}
		return err
	})
	return result, err
}

// GenerateOptions of Generate.
type GenerateOptions struct {
	Model        string
	Prompt       string
	MaxNewTokens int
	Temperature  float64
	TopK         int
	TopP         float64
	Seed         int64
	Set          []string
	Stream       func(text string) // called with the whole text so far after every token, in the first process

	Processes dist.Engine // as Options.Processes
}

// Generated is the JSON form of `train generate --json`.
type Generated struct {
	Prompt    string  `json:"prompt"`
	Text      string  `json:"text"` // the prompt and what follows it
	PromptIDs []int32 `json:"prompt_ids"`
	IDs       []int32 `json:"ids"` // the new tokens
}

// Generate continues a prompt.
func Generate(ctx context.Context, o GenerateOptions) (Generated, error) {
	m, err := loadModel(o.Model, o.Set)
	if err != nil {
		return Generated{}, inputError{err}
	}
	prompt, err := m.tokens.Encode(o.Prompt, true)
	if err != nil {
		return Generated{}, inputError{err}
	}
	text := append([]int32(nil), prompt...)
	g := generate.Options{
		MaxNewTokens: o.MaxNewTokens, Temperature: o.Temperature, TopK: o.TopK, TopP: o.TopP, Seed: o.Seed, Stop: m.stops(),
		Emit: func(id int32) {
			text = append(text, id)
			if o.Stream != nil {
				o.Stream(m.tokens.Decode(text, true))
			}
		},
	}
	if err := g.Validate(); err != nil {
		return Generated{}, inputError{err}
	}
	if n := m.cfg.DataParallelSize; n > 1 {
		return Generated{}, inputError{fmt.Errorf("trainer: data_parallel_size is %d, but a text is continued by one ring; set data_parallel_size=1", n)}
	}
	if len(prompt) == 0 {
		return Generated{}, inputError{fmt.Errorf("trainer: the prompt has no tokens; give --prompt")}
	}
	result := Generated{Prompt: o.Prompt, PromptIDs: prompt}
	err = m.onMesh(ctx, o.Processes, func(ctx context.Context, rank *model.Model[float32], at mesh) error {
		ids, err := generate.Tokens(ctx, rank, at.ring, prompt, g)
		if at.leads() {
			result.IDs = ids
		}
		return err
	})
	result.Text = m.tokens.Decode(append(append([]int32(nil), prompt...), result.IDs...), true)
	return result, err
}

// loaded is a model folder read for use without training.
type loaded struct {
	cfg    config.Config
	model  hf.Config
	params *model.Params[float32]
	tokens *tokenizer.Tokenizer
}

func loadModel(dir string, set []string) (*loaded, error) {
	cfg, err := config.ForModel(dir, set)
	if err != nil {
		return nil, err
	}
	m := &loaded{cfg: cfg}
	if m.model, err = hf.ReadConfig(dir); err != nil {
		return nil, err
	}
	if m.model, err = adapt(m.model, cfg); err != nil {
		return nil, err
	}
	if err := cfg.CheckHeads(m.model.NumHeads, m.model.NumKVHeads); err != nil {
		return nil, err
	}
	tokenizerDir := cfg.TokenizerConfig
	if tokenizerDir == "" {
		tokenizerDir = dir
	}
	if m.tokens, err = loadTokenizer(tokenizerDir, m.model); err != nil {
		return nil, err
	}
	weights, err := hf.LoadWeights(dir, m.model)
	if err != nil {
		return nil, err
	}
	m.params, err = model.FromHF[float32](m.model, weights)
	return m, err
}

// documents reads, tokenizes and cuts the documents of an evaluation. Without sequence_len they are taken whole.
func (m *loaded) documents(o EvalOptions) ([][]int32, error) {
	opened, err := data.Open(data.Options{
		Tokenizer:   m.tokens,
		Sources:     []data.Source{{Path: o.Data, Field: o.Field}},
		SequenceLen: m.cfg.SequenceLen,
		Excess:      m.cfg.ExcessLengthStrategy,
		Concatenate: m.cfg.Concatenate,
		Pack:        m.cfg.SamplePacking,
		Seed:        m.cfg.Seed,
	})
	if err != nil {
		return nil, err
	}
	documents := make([][]int32, opened.Train.Len())
	for i := range documents {
		documents[i] = opened.Train.Sequence(i).IDs
	}
	return documents, nil
}

// packs deals documents to packs; nil without sample_packing.
func (m *loaded) packs(documents [][]int32) [][]int {
	if !m.cfg.SamplePacking {
		return nil
	}
	lengths := make([]int, len(documents))
	for i, ids := range documents {
		lengths[i] = len(ids)
	}
	return data.Packs(lengths, m.cfg.SequenceLen)
}

// stops are the ids that end a text.
func (m *loaded) stops() []int32 {
	var ids []int32
	for _, id := range m.model.EOS {
		ids = append(ids, int32(id))
	}
	if id, ok := m.tokens.EOS(); ok {
		ids = append(ids, id)
	}
	return ids
}

// onMesh runs f on every rank, each with its own model over the shared parameters of its process.
func (m *loaded) onMesh(ctx context.Context, processes dist.Engine, f func(context.Context, *model.Model[float32], mesh) error) error {
	cfg := m.cfg
	d, err := deal(&cfg, processes)
	if err != nil {
		return inputError{err}
	}
	return hosts.Run(ctx, processes, d.ranks, dist.Options{Timeout: cfg.RingTimeout.Duration()}, func(ctx context.Context, comm *dist.Comm) error {
		at, err := newMesh(ctx, comm, cfg, d.ranks)
		if err != nil {
			return err
		}
		rank, err := model.New(m.model, m.params, at.ring, ringOptions(cfg))
		if err != nil {
			return err
		}
		return f(ctx, rank, at)
	})
}
