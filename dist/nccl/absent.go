//go:build !ringcuda || !cgo

package nccl

import (
	"context"

	"github.com/ringgrad/ringgrad/dist"
)

// Open returns ErrNotBuilt.
func Open(context.Context, dist.Engine, Options) (dist.Engine, error) { return nil, ErrNotBuilt }
