package gradcheck

import (
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/dist/shard"
)

func TestShapesOfConfigurationsHold(t *testing.T) {
	for _, s := range []Shape{
		{Tokens: 301, Heads: 2, KVHeads: 1, Dim: 64, Causal: true, Layout: shard.Zigzag, Ring: 4},
		{Tokens: 5, Heads: 1, Dim: 8, Ring: 7, Layout: shard.Striped, DType: Float64},
		{Tokens: 33, Batch: 2, Heads: 4, KVHeads: 2, Dim: 16, ValueDim: 24, Ring: 2},
	} {
		r, err := CheckShape(t.Context(), s)
		requireSuite(t, r, err)
	}
}

func TestLongSequencesAreCutToWhatTheReferenceCanDo(t *testing.T) {
	s := Shape{Tokens: 131072 + 5, Heads: 8, Dim: 128, Ring: 4}
	if n := s.MaxTokens(); n < 100 || n > 2000 || n%8 != s.Tokens%8 {
		t.Errorf("%d tokens of %d are checked", n, s.Tokens)
	}
	s.Tokens = 77
	if n := s.MaxTokens(); n != 77 {
		t.Errorf("%d tokens of 77 are checked", n)
	}
}

func TestBadShapesAreErrors(t *testing.T) {
	_, err := CheckShape(t.Context(), Shape{Heads: 3, KVHeads: 2, Layout: "x", Ring: 4000})
	for _, want := range []string{"0 tokens", "3 heads with 2 KV heads", "head dim 0", "ring size 4000", `"x"`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %s", err, want)
		}
	}
}
