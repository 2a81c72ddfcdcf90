// Package ringgrad is the root of a module that holds ring attention for Go: the op for gorgonia graphs (ops/ringattn), the
// communication it needs (dist), and a trainer that fine-tunes long-context models with it (trainer, cmd/train). It has no code
// of its own; its tests keep the rules that span the module.
package ringgrad
