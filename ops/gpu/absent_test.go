//go:build !ringcuda

package gpu_test

import (
	"testing"

	"github.com/ringgrad/ringgrad/ops/gpu"
)

func TestBinariesWithoutTheTagSaySo(t *testing.T) {
	if why := gpu.List().Why; why != "built without the tag ringcuda" {
		t.Errorf("the reason is %q", why)
	}
}
