package gradcheck

import (
	"context"
	"testing"

	"github.com/ringgrad/ringgrad/dist/shard"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// TestRingsComputeWhatOneRankComputes covers W up to 8 for 2×29 and for 3 tokens, three layouts, both types.
func TestRingsComputeWhatOneRankComputes(t *testing.T) {
	results, err := Invariance(context.Background(), Options{Rings: []int{2, 3, 4, 8}})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 2*4*3*2 {
		t.Errorf("%d results", len(results))
	}
	for _, r := range results {
		worst, rel := r.Worst()
		if !r.OK {
			t.Errorf("ring %d %s %s, %d×%d: loss %.1e, worst %s %.1e %s", r.Ring, r.Layout, r.DType, r.Batch, r.Tokens, r.Loss, worst, rel, r.Error)
		}
	}
}

// TestGradientsAreSlopesOfTheLoss moves every parameter of a whole model.
func TestGradientsAreSlopesOfTheLoss(t *testing.T) {
	for _, ring := range []int{1, 3} {
		results, err := FiniteDifferences(context.Background(), ring, shard.Zigzag)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			t.Logf("ring %d: %s %.1e", r.Ring, r.Parameter, r.MaxRel)
			if !r.OK {
				t.Errorf("ring %d: %s differs by %.1e", r.Ring, r.Parameter, r.MaxRel)
			}
		}
	}
}
