//go:build !ringcuda || !cgo

package nccl_test

import (
	"errors"
	"testing"

	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/nccl"
)

func TestOpenSaysThatItIsNotBuilt(t *testing.T) {
	e, err := nccl.Open(t.Context(), local.NewWorld(1)[0], nccl.Options{})
	if e != nil || !errors.Is(err, nccl.ErrNotBuilt) {
		t.Errorf("Open gives %v and %v: want ErrNotBuilt", e, err)
	}
}
