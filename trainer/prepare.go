package trainer

import (
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
	"github.com/ringgrad/ringgrad/trainer/checkpoint"
	"github.com/ringgrad/ringgrad/trainer/config"
	"github.com/ringgrad/ringgrad/trainer/data"
	"github.com/ringgrad/ringgrad/trainer/hf"
	"github.com/ringgrad/ringgrad/trainer/metrics"
	"github.com/ringgrad/ringgrad/trainer/model"
	"github.com/ringgrad/ringgrad/trainer/schedule"
	"github.com/ringgrad/ringgrad/trainer/tokenizer"
)

// ErrInput marks an error of what a run was given (folders, files, settings), found before anything was written.
var ErrInput = errors.New("input")

// inputError carries ErrInput without showing it in the message.
type inputError struct{ err error }

func (e inputError) Error() string        { return e.err.Error() }
func (e inputError) Unwrap() error        { return e.err }
func (e inputError) Is(target error) bool { return target == ErrInput }

// run is what the ranks of one process share.
type run struct {
	cfg      config.Config
	observer Observer
	layout   shard.Layout
	timeout  time.Duration
	steps    int

	processes dist.Engine // nil where there is one
	dealt     dealt

	model     hf.Config // the model that is trained, with the run's RoPE and length
	baseModel hf.Config // as it was found
	source    string    // its folder; "" when trained from scratch
	params    *model.Params[float32]
	grads     map[string][]float32 // of the step in flight, over all ranks and the micro-batches so far
	moments   map[string]checkpoint.Moments
	schedule  schedule.Schedule

	data          *data.Dataset
	tokens        *tokenizer.Tokenizer
	tokenizerDir  string
	longDocuments [][]int32

	recorder     *metrics.Recorder
	tracker      tracker // of the step in flight
	state        state
	resumedFrom  string // checkpoint folder, "" for a new run
	mayStartAnew bool   // over a run that never reached a checkpoint
	dataSum      string // of the training sequences, once it is needed

	// Tests put other batches and faulty engines here, and spoil the folder that a share of the optimizer's state goes into.
	feed   func(rank int) batches
	wrap   func(dist.Engine) dist.Engine
	saving func(dir string)
}

// state is what changes from step to step, and what a checkpoint holds besides parameters and moments.
type state struct {
	step         int // updates done
	cursor       data.Cursor
	tokens       int64
	lastLoss     float64
	lastRingWait float64
	evalLoss     *float64
	evalPending  bool          // the evaluation after this step was cut short by a stop
	position     *Position     // measured before the first step
	onDisk       bool          // as a checkpoint in output_dir
	before       time.Duration // training before this process
	began        time.Time     // when this process began
	flops        float64       // done in this process's steps
	computing    float64       // seconds that these took
}

// prepare reads everything a run needs, cheapest and likeliest to be wrong first.
func prepare(cfg config.Config, o Options) (*run, error) {
	if err := cfg.Validate(); err != nil {
		return nil, inputError{err}
	}
	d, err := deal(&cfg, o.Processes)
	if err := errors.Join(err, cfg.Validate()); err != nil { // the processes may make the ring a larger one
		return nil, inputError{err}
	}
	if err := (ringattn.Config{Device: ring.Device(cfg.Device), DType: attentionDType(cfg)}).Validate(); err != nil {
		return nil, inputError{fmt.Errorf("trainer: device is %s, attention_dtype is %s: %w", cfg.Device, cfg.AttentionDtype, err)}
	}
	if d.process > 0 {
		o.Observer = Observer{}
	}
	r := &run{
		cfg: cfg, observer: o.Observer, layout: shard.Layout(cfg.RingAttnFunc), timeout: cfg.RingTimeout.Duration(),
		processes: o.Processes, dealt: d,
	}
	stages := []func() error{r.readModel, r.readTokenizer, r.readData, r.checkMemory, r.readParameters, r.planSteps}
	if o.Random {
		stages = []func() error{r.readModel, r.drawData, r.checkMemory, r.drawParameters, r.planSteps}
	}
	for _, stage := range stages {
		if err := stage(); err != nil {
			return nil, inputError{err}
		}
	}
	if err := r.resume(o.Resume); err != nil {
		return nil, inputError{err}
	}
	if !cfg.GradientCheckpointing {
		r.note("gradient_checkpointing: false changes nothing: a layer's inside is always computed again in its backward pass")
	}
	return r, nil
}

// attentionDType is attention_dtype as graphs take it.
func attentionDType(c config.Config) ringattn.DType {
	if c.AttentionDtype == config.Default().AttentionDtype {
		return ""
	}
	return ringattn.DType(c.AttentionDtype)
}

// note tells people something worth a line.
func (r *run) note(format string, args ...any) {
	if r.observer.Noted != nil {
		r.observer.Noted(fmt.Sprintf(format, args...))
	}
}

// readModel finds out what is trained: the folder's config or the one in the YAML, with the run's RoPE and length.
func (r *run) readModel() error {
	var err error
	if r.cfg.BaseModel != "" {
		r.source = r.cfg.BaseModel
		r.baseModel, err = hf.ReadConfig(r.source)
	} else {
		r.baseModel, err = hf.ConfigFromMap(r.cfg.Model)
	}
	if err != nil {
		return err
	}
	if r.model, err = adapt(r.baseModel, r.cfg); err != nil {
		return err
	}
	return r.cfg.CheckHeads(r.model.NumHeads, r.model.NumKVHeads)
}

func (r *run) readTokenizer() (err error) {
	r.tokenizerDir = r.cfg.TokenizerConfig
	if r.tokenizerDir == "" {
		r.tokenizerDir = r.source
	}
	if r.tokenizerDir == "" {
		return errors.New("trainer: a model from scratch needs tokenizer_config: the folder of a tokenizer.json")
	}
	r.tokens, err = loadTokenizer(r.tokenizerDir, r.model)
	return err
}

// loadTokenizer refuses a tokenizer whose ids the model does not have.
func loadTokenizer(dir string, m hf.Config) (*tokenizer.Tokenizer, error) {
	t, err := tokenizer.Load(dir)
	if err != nil {
		return nil, err
	}
	if n := t.VocabSize(); n > m.VocabSize {
		return nil, fmt.Errorf("trainer: the tokenizer of %s has %d tokens but the model's vocab_size is %d; use the tokenizer that belongs to the model", dir, n, m.VocabSize)
	}
	return t, nil
}

// adapt gives a model the run's RoPE and sequence length. A longer context without RoPE scaling is honoured: it is what the
// model was asked to learn.
func adapt(base hf.Config, cfg config.Config) (hf.Config, error) {
	m := base.Clone()
	rope := m.RoPE
	if cfg.RopeScaling != nil {
		rope = ropeOf(*cfg.RopeScaling, rope.Theta, base.MaxPositionEmbeddings)
	}
	if cfg.RopeTheta > 0 {
		rope.Theta = cfg.RopeTheta
	}
	if cfg.RopeScaling != nil || cfg.RopeTheta > 0 {
		if err := m.SetRoPE(rope); err != nil {
			return m, err
		}
	}
	if cfg.SequenceLen > m.MaxPositionEmbeddings {
		m.SetMaxPositions(cfg.SequenceLen)
	}
	return m, nil
}

func ropeOf(s config.RopeScaling, theta float64, trained int) hf.RoPE {
	original := s.OriginalMaxPositionEmbeddings
	if original == 0 {
		original = trained
	}
	return hf.RoPE{
		Type: s.RopeType, Theta: theta, Factor: s.Factor, OriginalMaxPositions: original,
		LowFreqFactor: s.LowFreqFactor, HighFreqFactor: s.HighFreqFactor,
		AttentionFactor: s.AttentionFactor, BetaFast: s.BetaFast, BetaSlow: s.BetaSlow,
	}
}

// readData opens the datasets and picks the held-back documents that the table of loss by position uses.
func (r *run) readData() error {
	o := data.Options{
		Tokenizer:   r.tokens,
		SequenceLen: r.cfg.SequenceLen,
		Concatenate: r.cfg.Concatenate,
		Pack:        r.cfg.SamplePacking,
		Excess:      r.cfg.ExcessLengthStrategy,
		Shuffle:     r.cfg.ShuffleMergedDatasets,
		Seed:        r.cfg.Seed,
		ValSetSize:  r.cfg.ValSetSize,
		Sources:     sources(r.cfg.Datasets),
		TestSources: sources(r.cfg.TestDatasets),
	}
	var err error
	if r.data, err = data.Open(o); err != nil {
		return err
	}
	r.note("data: %s", r.data.Counts)
	r.notePacks()
	if r.cfg.EvalSteps > 0 && r.data.Val.Len() == 0 {
		return fmt.Errorf("trainer: eval_steps is %d but no held-back sequence is left (%s); raise val_set_size, give other test_datasets, change excess_length_strategy, or set eval_steps: 0", r.cfg.EvalSteps, r.data.Counts)
	}
	if r.cfg.LossByPosition {
		r.longDocuments = r.pickLongDocuments()
		if len(r.longDocuments) == 0 {
			return fmt.Errorf("trainer: loss_by_position needs held-back documents of at least sequence_len = %d tokens, and there is none; raise val_set_size or give longer documents", r.cfg.SequenceLen)
		}
	}
	return nil
}

// pickLongDocuments returns the first loss_by_position_documents held-back documents that fill sequence_len, cut to it.
func (r *run) pickLongDocuments() [][]int32 {
	var long [][]int32
	for _, ids := range r.data.Val.Documents() {
		if len(ids) >= r.cfg.SequenceLen && len(long) < r.cfg.LossByPositionDocuments {
			long = append(long, ids[:r.cfg.SequenceLen])
		}
	}
	return long
}

func sources(list []config.Dataset) []data.Source {
	out := make([]data.Source, 0, len(list))
	for _, d := range list {
		out = append(out, data.Source{Path: d.Path, Field: d.Field, Type: d.Type, InvalidUTF8: d.InvalidUTF8, MinDocumentTokens: d.MinDocumentTokens})
	}
	return out
}

// drawData makes the sequences of one step, which an epoch repeats.
func (r *run) drawData() error {
	train := data.Random(r.cfg.MicroBatchSize*r.cfg.GradientAccumulationSteps*r.cfg.DataParallelSize, r.cfg.SequenceLen, r.model.VocabSize, r.cfg.Seed)
	r.data = &data.Dataset{Train: train, Val: &data.Split{}}
	return nil
}

// readParameters loads the weights, or draws those of a model from scratch.
func (r *run) readParameters() error {
	if r.source == "" {
		return r.drawParameters()
	}
	weights, err := hf.LoadWeights(r.source, r.model)
	if err != nil {
		return err
	}
	if r.params, err = model.FromHF[float32](r.model, weights); err != nil {
		return err
	}
	r.makeRoom()
	return nil
}

func (r *run) drawParameters() error {
	r.params = model.Init[float32](r.model, r.cfg.Seed)
	r.makeRoom()
	return nil
}

// makeRoom is for the moments of this process's share; gradients come and go with each step.
func (r *run) makeRoom() {
	r.grads = map[string][]float32{}
	r.moments = map[string]checkpoint.Moments{}
	for _, p := range r.params.All() {
		lo, hi := r.dealt.share.Bounds(len(p.Data))
		r.moments[p.Name] = checkpoint.Moments{M: make([]float32, hi-lo), V: make([]float32, hi-lo)}
	}
}

// planSteps turns epochs into steps, enough for every sequence, and makes the schedule.
func (r *run) planSteps() error {
	perStep := r.cfg.MicroBatchSize * r.cfg.GradientAccumulationSteps * r.cfg.DataParallelSize
	r.steps = r.cfg.MaxSteps
	if r.steps == 0 {
		r.steps = max(1, ceil(r.rows(r.cfg.NumEpochs)/float64(perStep)))
	}
	warmup := r.cfg.WarmupSteps
	if r.cfg.WarmupRatio > 0 {
		warmup = ceil(r.cfg.WarmupRatio * float64(r.steps))
	}
	r.schedule = schedule.Schedule{
		Kind: r.cfg.LrScheduler, Rate: r.cfg.LearningRate, Warmup: warmup, Total: r.steps, MinRatio: r.cfg.CosineMinLrRatio,
	}
	return r.schedule.Validate()
}

// ceil rounds up, but for what floating point added to a whole number.
func ceil(x float64) int { return int(math.Ceil(x - 1e-9)) }
