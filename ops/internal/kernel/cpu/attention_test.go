package cpu

import (
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel/kerneltest"
)

func TestAttentionConformsOnEveryInstructionSet(t *testing.T) {
	eachISA(t, func(t *testing.T) {
		kerneltest.Run(t, "float32", New[float32])
		kerneltest.Run(t, "float64", New[float64])
	})
}

func FuzzAttentionShapes(f *testing.F) { kerneltest.Fuzz(f, New[float32]) }
