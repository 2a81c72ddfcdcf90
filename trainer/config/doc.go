// Package config reads the YAML file of a run.
//
//	cfg, err := config.Load("configs/long.yaml", []string{"max_steps=3", "rope_scaling.factor=16"})
//
// Keys are flat and spelled as axolotl and Hugging Face spell them; keys.go lists them all, and its comments are the one source of
// the JSON schema, of the README's table and of the help in errors. Values come from, each over the one before: the defaults, the
// file, and --set key=value in order. A value of null is as good as no key.
//
// Reading is strict. Unknown and repeated keys, values of a wrong type, numbers that are not finite, aliases, a second document and
// an empty file are errors, and so are values that contradict each other. All of them are reported at once, each with file, line and
// column:
//
//	configs/long.yaml:12:1: unknown key "cutoff_len"; did you mean "sequence_len"?
//
// Paths in a config are relative to the working directory of the command, not to the file; datasets expand ${NAME} and globs.
package config
