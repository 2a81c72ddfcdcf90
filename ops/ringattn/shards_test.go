package ringattn

import (
	"strings"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

func compiled(t *testing.T, tokens int, specs ...mask.Spec) (masks []*mask.Mask) {
	t.Helper()
	for _, spec := range specs {
		m, err := mask.New(spec, tokens)
		if err != nil {
			t.Fatal(err)
		}
		masks = append(masks, m)
	}
	return masks
}

// TestShardsAreHeldAgainstTheSequence, and take the layout's place.
func TestShardsAreHeldAgainstTheSequence(t *testing.T) {
	node := func(g *gorgonia.ExprGraph, name string) *gorgonia.Node {
		return gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithShape(12, 4), gorgonia.WithName(name))
	}
	masks := compiled(t, 12, mask.Spec{Causal: true}, mask.Spec{Causal: true, Window: &mask.Window{Left: 1, Right: mask.Unbounded}})
	fitting, err := ring.Deal(shard.Balanced, 12, 3, 0, masks...)
	if err != nil {
		t.Fatal(err)
	}
	short, err := shard.New(shard.Zigzag, 11, 3)
	if err != nil {
		t.Fatal(err)
	}
	for want, cfg := range map[string]Config{
		"":                          {Shards: &fitting},
		"deal 11 tokens to 3 ranks": {Shards: &short},
		"Chunk and Shards are both": {Shards: &fitting, Chunk: &Chunk{}},
	} {
		cfg.NumHeads, cfg.Devices, cfg.Causal = 1, 3, true
		g := gorgonia.NewGraph()
		_, op, err := Apply(node(g, "q"), node(g, "k"), node(g, "v"), cfg)
		if want == "" {
			if err != nil || op.geo.call.Sharding != fitting {
				t.Errorf("%v: want the sharding that was given", err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", want, err)
		}
	}
}

// TestSharedShardsLieBetweenThoseOfEachMask: layers of two masks share the work of both.
func TestSharedShardsLieBetweenThoseOfEachMask(t *testing.T) {
	const tokens, ranks = 240, 3
	masks := compiled(t, tokens, mask.Spec{Causal: true, CuSeqlens: []int{0, 150, 170, tokens}}, mask.Spec{Causal: true})
	s, err := ring.Deal(shard.Balanced, tokens, ranks, 0, masks[0], masks[1], masks[1])
	if err != nil {
		t.Fatal(err)
	}
	var work [ranks]int
	total := 0
	for rank := range work {
		for i := range s.Len(rank) {
			p := s.Position(rank, i)
			work[rank] += masks[0].Count(p, tokens) + 2*masks[1].Count(p, tokens)
		}
		total += work[rank]
	}
	for rank, w := range work {
		if float64(w*ranks) > 1.05*float64(total) {
			t.Errorf("rank %d has %d of %d pairs", rank, w, total)
		}
	}
}
