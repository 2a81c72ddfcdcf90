// Package hf reads and writes Hugging Face model folders: config.json, safetensors weights (one file or shards) and the files
// that travel with them.
//
//	cfg, err := hf.ReadConfig(dir)             // refuses by name what this module cannot compute
//	weights, err := hf.LoadWeights(dir, cfg)   // every parameter of the model as float32, checked
//	err = hf.Save(out, hf.Folder{Config: cfg, Tensors: tensors, SourceDir: dir})
//
// The semantics are those of transformers 5: defaults of missing keys depend on the model type, RoPE is read in both spellings
// (rope_parameters, and rope_scaling with rope_theta), and a config is written back as it was read, but for what training changed.
// The package knows neither graphs nor ranks.
package hf
