package trainer

import (
	"fmt"

	"github.com/ringgrad/ringgrad/trainer/config"
	"github.com/ringgrad/ringgrad/trainer/estimate"
)

// Plan is what a run will do, known before it starts.
type Plan struct {
	Model         string            `json:"model"`
	Parameters    int64             `json:"parameters"`
	TrainTokens   int64             `json:"train_tokens"`
	ValTokens     int64             `json:"val_tokens"`
	TokensPerStep int64             `json:"tokens_per_step"`
	MicroBatch    int               `json:"micro_batch_size"`
	SequenceLen   int               `json:"sequence_len"`
	Accumulation  int               `json:"gradient_accumulation_steps"`
	Steps         int               `json:"steps"`
	FirstStep     int               `json:"first_step"` // updates done before this run: a resumed one starts later
	Rings         int               `json:"data_parallel_size"`
	Ring          int               `json:"context_parallel_size"`
	ZeroStage     int               `json:"zero_stage"`
	Processes     int               `json:"processes"`
	Layout        string            `json:"ring_attn_func"`
	Travel        string            `json:"ring_travel"`
	Ulysses       int               `json:"ulysses_size"`
	InnerRing     int               `json:"ring_inner_size"`
	Packed        bool              `json:"sample_packing"`
	Dropout       float64           `json:"attention_dropout"`
	Device        string            `json:"device"`
	Attention     string            `json:"attention_dtype"`
	Memory        estimate.Memory   `json:"memory"`
	WireBytes     int64             `json:"wire_bytes_per_step"`
	Estimate      estimate.Estimate `json:"estimate"`
	OutputDir     string            `json:"output_dir"`
}

func (r *run) plan() Plan {
	c := r.cfg
	e := r.estimate()
	name := r.source
	if name == "" {
		name = "from scratch"
	}
	return Plan{
		Model: fmt.Sprintf("%s (%s, %d layers, hidden %d, %d/%d heads of %d, vocabulary %d)", name, r.model.ModelType, r.model.NumLayers,
			r.model.HiddenSize, r.model.NumHeads, r.model.NumKVHeads, r.model.HeadDim, r.model.VocabSize),
		Parameters:    int64(r.model.NumParameters()),
		TrainTokens:   int64(r.data.Train.Tokens()),
		ValTokens:     int64(r.data.Val.Tokens()),
		TokensPerStep: int64(c.SequenceLen) * int64(c.MicroBatchSize) * int64(c.GradientAccumulationSteps) * int64(c.DataParallelSize),
		MicroBatch:    c.MicroBatchSize,
		SequenceLen:   c.SequenceLen,
		Accumulation:  c.GradientAccumulationSteps,
		Steps:         r.steps,
		FirstStep:     r.state.step,
		Rings:         c.DataParallelSize,
		Ring:          c.ContextParallelSize,
		ZeroStage:     c.ZeroStage,
		Processes:     r.dealt.processes,
		Layout:        string(r.layout),
		Travel:        e.Travel.Travel,
		Ulysses:       c.UlyssesSize,
		InnerRing:     c.RingInnerSize,
		Packed:        c.SamplePacking,
		Dropout:       r.dropout(),
		Device:        c.Device,
		Attention:     c.AttentionDtype,
		Memory:        e.Memory,
		WireBytes:     e.WireBytes(),
		Estimate:      e,
		OutputDir:     c.OutputDir,
	}
}

// estimate is what a step takes, with the data that were read.
func (r *run) estimate() estimate.Estimate {
	return estimate.Compute(estimate.ModelOf(r.model), r.sized())
}

// memory is that of a process.
func (r *run) memory() int64 { return estimate.MemoryOf(estimate.ModelOf(r.model), r.sized()).Process }

func (r *run) sized() estimate.Run {
	sized := estimate.RunOf(r.cfg)
	sized.Processes = r.dealt.processes
	sized.DataTokens = int64(r.data.Train.Tokens()) + int64(r.data.Val.Tokens())
	if n := r.data.Train.Len(); n > 0 {
		sized.DocumentLen = max(1, r.data.Train.Tokens()/n)
	}
	return sized
}

// checkMemory refuses a run that takes more than memory_limit.
func (r *run) checkMemory() error {
	limit, needed := r.cfg.MemoryLimit, config.Bytes(r.memory())
	if limit == 0 || needed <= limit {
		return nil
	}
	return fmt.Errorf("trainer: a step takes %s (estimated), which is over memory_limit %s; raise it, or lower sequence_len or micro_batch_size", needed.Rounded(), limit)
}
