package config

import "time"

// Default returns the values of keys that neither file nor --set gives.
func Default() Config {
	return Config{
		SequenceLen:               2048,
		ExcessLengthStrategy:      "truncate",
		ShuffleMergedDatasets:     true,
		MicroBatchSize:            1,
		GradientAccumulationSteps: 1,
		DataParallelSize:          1,
		ContextParallelSize:       1,
		RingAttnFunc:              "zigzag",
		RingTravel:                "kv",
		UlyssesSize:               1,
		RingTimeout:               Duration(10 * time.Minute),
		GradientCheckpointing:     true,
		Device:                    "cpu",
		AttentionDtype:            "float32",
		LearningRate:              5e-5,
		LrScheduler:               "cosine",
		AdamBeta1:                 0.9,
		AdamBeta2:                 0.999,
		AdamEpsilon:               1e-8,
		MaxGradNorm:               1,
		LossByPositionWindow:      512,
		LossByPositionDocuments:   8,
		SaveSteps:                 500,
		SaveDtype:                 "float32",
		LoggingSteps:              1,
		Seed:                      42,
		OutputDir:                 "model-out",
	}
}

// defaultDataset is what an entry of a list of datasets starts from.
func defaultDataset() Dataset { return Dataset{Field: "text", InvalidUTF8: "error"} }

// complete fills in what depends on other keys.
func (c *Config) complete() {
	if c.MaxSteps == 0 && c.NumEpochs == 0 {
		c.NumEpochs = 1
	}
}
