package config

// This file is embedded: the comment above a field is its description in the schema and in the README, the yaml tag its name, and
// the jsonschema tag its range, which Validate enforces too.

// Config is a run. Default gives the values of keys that a file leaves out.
type Config struct {
	// Hugging Face model folder to start from (config.json, safetensors, tokenizer.json). Either this or model.
	BaseModel string `yaml:"base_model,omitempty"`
	// A new model to train from scratch: the keys of its config.json (model_type, hidden_size, num_hidden_layers, …).
	Model map[string]any `yaml:"model,omitempty"`
	// Folder with the tokenizer.json; base_model when left out, needed with model.
	TokenizerConfig string `yaml:"tokenizer_config,omitempty"`

	// What to train on: a list of sources, read in this order.
	Datasets []Dataset `yaml:"datasets"`
	// What to evaluate on, in the form of datasets; instead of val_set_size.
	TestDatasets []Dataset `yaml:"test_datasets,omitempty"`
	// Documents that are held back for evaluation: a share of all of them when below 1, a number of them from 1 on.
	ValSetSize float64 `yaml:"val_set_size" jsonschema:"minimum=0"`
	// Tokens in a training sequence; all of them attend to each other over the ring.
	SequenceLen int `yaml:"sequence_len" jsonschema:"minimum=2"`
	// Join all documents to one stream and cut it every sequence_len tokens; otherwise a sequence holds one document.
	Concatenate bool `yaml:"concatenate"`
	// Several documents in a sequence of at most sequence_len tokens, without attention between them, each with positions from 0; those of a micro-batch become one sequence. Not with concatenate.
	SamplePacking bool `yaml:"sample_packing"`
	// What happens to a document longer than sequence_len: leave it out, cut it off, make several sequences of it, or stop with an error.
	ExcessLengthStrategy string `yaml:"excess_length_strategy" jsonschema:"enum=drop,enum=truncate,enum=split,enum=raise"`
	// Draw the sequences in a random order, another one each epoch.
	ShuffleMergedDatasets bool `yaml:"shuffle_merged_datasets"`

	// Sequences, or packs, in one forward and backward pass.
	MicroBatchSize int `yaml:"micro_batch_size" jsonschema:"minimum=1"`
	// Passes whose gradients are added up before an update.
	GradientAccumulationSteps int `yaml:"gradient_accumulation_steps" jsonschema:"minimum=1"`
	// Rings that train side by side, each on micro-batches of its own: a step has data_parallel_size times as many sequences. Times context_parallel_size is the number of ranks.
	DataParallelSize int `yaml:"data_parallel_size" jsonschema:"minimum=1"`
	// 1 shards the optimizer's state over the data_parallel_size rings: each process keeps and updates the share of its rings. Same bits as 0, where every process keeps all.
	ZeroStage int `yaml:"zero_stage" jsonschema:"minimum=0,maximum=1"`
	// Ring size: ranks that every sequence is split over. Loss and gradients do not depend on it.
	ContextParallelSize int `yaml:"context_parallel_size" jsonschema:"minimum=1"`
	// Which tokens a rank holds. zigzag and striped give every rank the same work under a causal mask, balanced under every mask: with packed documents and windows.
	RingAttnFunc string `yaml:"ring_attn_func" jsonschema:"enum=contiguous,enum=zigzag,enum=striped,enum=balanced"`
	// What travels round the ring: keys and values, or queries with what they gather, or what sends fewer bytes. Loss and gradients are the same.
	RingTravel string `yaml:"ring_travel" jsonschema:"enum=kv,enum=q,enum=auto"`
	// Ranks that exchange rows for heads (Ulysses), with a ring between such groups. Divides context_parallel_size and the model's query and KV heads.
	UlyssesSize int `yaml:"ulysses_size" jsonschema:"minimum=1"`
	// Ranks of an inner ring of a double ring, of which few hops leave the inner rings. Divides context_parallel_size by ulysses_size. 0 takes the ranks of a process where a ring spans several processes, else 1.
	RingInnerSize int `yaml:"ring_inner_size" jsonschema:"minimum=0"`
	// How long a rank waits for another before the run ends with an error that names it; 0s waits for ever.
	RingTimeout Duration `yaml:"ring_timeout"`
	// Most memory that the process may take, such as 6GiB or 900MB: a run that is estimated to take more is refused before it starts, and Go's collector works harder as it comes near. No limit when left out.
	MemoryLimit Bytes `yaml:"memory_limit,omitempty"`
	// Keep only the layers' inputs and attention's results, and compute the rest of a layer again in its backward pass. Always done at present: false changes nothing.
	GradientCheckpointing bool `yaml:"gradient_checkpointing"`
	// What computes attention; everything else runs on the CPU. cuda takes a binary built with the tag ringcuda and deals the ranks to the GPUs of the machine; sim runs the GPU's kernels on the CPU, slowly, to check them.
	Device string `yaml:"device" jsonschema:"enum=cpu,enum=cuda,enum=sim"`
	// What attention multiplies in. bfloat16 is faster, halves what keys and values send and rounds to 8 bits of precision; sums, gradients and everything else stay in float32. For GPUs, and processors with AVX-512-BF16 or AMX-BF16; float16 for GPUs alone.
	AttentionDtype string `yaml:"attention_dtype" jsonschema:"enum=float32,enum=bfloat16,enum=float16"`
	// Share of attention weights that training drops, others in each step and layer, the same for every ring. The model's own (attention_dropout in its config.json, mostly 0) when left out; 0 switches it off.
	AttentionDropout *float64 `yaml:"attention_dropout,omitempty" jsonschema:"minimum=0,exclusiveMaximum=1"`

	// Base of the rotary position embedding; the model's own when 0.
	RopeTheta float64 `yaml:"rope_theta,omitempty" jsonschema:"minimum=0"`
	// How the rotary position embedding is stretched to a longer context; the model's own when left out.
	RopeScaling *RopeScaling `yaml:"rope_scaling,omitempty"`

	// Updates in the run; goes before num_epochs when both are given.
	MaxSteps int `yaml:"max_steps,omitempty" jsonschema:"minimum=0"`
	// Passes over the training data; 1 when max_steps is left out too.
	NumEpochs float64 `yaml:"num_epochs,omitempty" jsonschema:"minimum=0"`
	// Highest learning rate of the schedule.
	LearningRate float64 `yaml:"learning_rate" jsonschema:"minimum=0"`
	// Course of the learning rate after the warm-up.
	LrScheduler string `yaml:"lr_scheduler" jsonschema:"enum=cosine,enum=linear,enum=constant"`
	// Where the cosine ends, as a share of learning_rate.
	CosineMinLrRatio float64 `yaml:"cosine_min_lr_ratio,omitempty" jsonschema:"minimum=0,maximum=1"`
	// Updates in which the learning rate rises from 0. Either this or warmup_ratio.
	WarmupSteps int `yaml:"warmup_steps,omitempty" jsonschema:"minimum=0"`
	// The same as a share of all updates.
	WarmupRatio float64 `yaml:"warmup_ratio,omitempty" jsonschema:"minimum=0,maximum=1"`
	// AdamW: decay of the mean of gradients.
	AdamBeta1 float64 `yaml:"adam_beta1" jsonschema:"minimum=0,exclusiveMaximum=1"`
	// AdamW: decay of the mean of their squares.
	AdamBeta2 float64 `yaml:"adam_beta2" jsonschema:"minimum=0,exclusiveMaximum=1"`
	// AdamW: added to the denominator.
	AdamEpsilon float64 `yaml:"adam_epsilon" jsonschema:"exclusiveMinimum=0"`
	// AdamW: decoupled weight decay.
	WeightDecay float64 `yaml:"weight_decay" jsonschema:"minimum=0"`
	// Let weights of norms and biases decay too.
	WeightDecayOnNormAndBias bool `yaml:"weight_decay_on_norm_and_bias"`
	// Longest gradient, by its 2-norm; a longer one is scaled down. 0 never clips.
	MaxGradNorm float64 `yaml:"max_grad_norm" jsonschema:"minimum=0"`

	// Updates between evaluations on the held-back data; 0 never evaluates.
	EvalSteps int `yaml:"eval_steps" jsonschema:"minimum=0"`
	// Most sequences, or packs, that an evaluation reads; 0 reads all.
	EvalBatches int `yaml:"eval_batches" jsonschema:"minimum=0"`
	// Compare the loss by position on held-back long documents before and after the run, with a plot in output_dir.
	LossByPosition bool `yaml:"loss_by_position"`
	// Tokens that the model sees in the column of that table that stands for its short context.
	LossByPositionWindow int `yaml:"loss_by_position_window" jsonschema:"minimum=1"`
	// Documents in that table.
	LossByPositionDocuments int `yaml:"loss_by_position_documents" jsonschema:"minimum=1"`

	// Updates between checkpoints; 0 saves only the final model, and a checkpoint when interrupted.
	SaveSteps int `yaml:"save_steps" jsonschema:"minimum=0"`
	// Checkpoints to keep, the newest ones; 0 keeps all.
	SaveTotalLimit int `yaml:"save_total_limit" jsonschema:"minimum=0"`
	// Type of the saved weights. Optimizer state is always float32, with float32 weights beside narrower ones.
	SaveDtype string `yaml:"save_dtype" jsonschema:"enum=float32,enum=bfloat16,enum=float16"`
	// Updates between lines on the console and in metrics.jsonl.
	LoggingSteps int `yaml:"logging_steps" jsonschema:"minimum=1"`
	// Seed of new weights, of the held-back part, of the order of sequences and of dropout.
	Seed int64 `yaml:"seed" jsonschema:"minimum=0"`
	// Folder of the run: final model, checkpoint-N folders, metrics.jsonl, config.yaml.
	OutputDir string `yaml:"output_dir"`
	// Checkpoint to continue from: auto for the newest one in output_dir if there is one, or a folder.
	ResumeFromCheckpoint string `yaml:"resume_from_checkpoint,omitempty"`
}

// Dataset is one source of documents.
type Dataset struct {
	// File, folder or glob (** crosses folders), from the working directory; ${NAME} expands from the environment and ${GOROOT} always. .gz and .zst are unpacked.
	Path string `yaml:"path"`
	// Field of a JSONL line that holds the text.
	Field string `yaml:"field,omitempty"`
	// How files are read: text (one document a file) or jsonl (one a line); by the file's name when left out or completion.
	Type string `yaml:"type,omitempty" jsonschema:"enum=text,enum=jsonl,enum=completion"`
	// What a document that is not UTF-8 does: end the run with an error, or be left out.
	InvalidUTF8 string `yaml:"invalid_utf8,omitempty" jsonschema:"enum=error,enum=skip"`
	// Leave shorter documents out.
	MinDocumentTokens int `yaml:"min_document_tokens,omitempty" jsonschema:"minimum=0"`
}

// RopeScaling holds the fields of config.json's rope_scaling.
type RopeScaling struct {
	// linear divides all positions; llama3 and yarn treat short and long wavelengths differently.
	RopeType string `yaml:"rope_type" jsonschema:"enum=default,enum=linear,enum=llama3,enum=yarn"`
	// How many times longer the context becomes.
	Factor float64 `yaml:"factor,omitempty" jsonschema:"minimum=1"`
	// Positions before stretching; the model's max_position_embeddings when left out.
	OriginalMaxPositionEmbeddings int `yaml:"original_max_position_embeddings,omitempty" jsonschema:"minimum=1"`
	// llama3: wavelengths above original/low_freq_factor are divided by factor.
	LowFreqFactor float64 `yaml:"low_freq_factor,omitempty" jsonschema:"exclusiveMinimum=0"`
	// llama3: wavelengths below original/high_freq_factor stay.
	HighFreqFactor float64 `yaml:"high_freq_factor,omitempty" jsonschema:"exclusiveMinimum=0"`
	// yarn: factor on queries and keys; derived from factor when left out.
	AttentionFactor float64 `yaml:"attention_factor,omitempty" jsonschema:"exclusiveMinimum=0"`
	// yarn: rotations over the original length above which a wavelength stays; 32 when left out.
	BetaFast float64 `yaml:"beta_fast,omitempty" jsonschema:"exclusiveMinimum=0"`
	// yarn: rotations below which it is divided by factor; 1 when left out.
	BetaSlow float64 `yaml:"beta_slow,omitempty" jsonschema:"exclusiveMinimum=0"`
}
