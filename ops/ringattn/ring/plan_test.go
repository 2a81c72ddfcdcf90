package ring_test

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/meter"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// maskedCall has a mask and a layout.
func maskedCall(t *testing.T, s mask.Spec, layout shard.Layout, tokens, size int) ring.Call {
	t.Helper()
	m, err := mask.New(s, tokens)
	if err != nil {
		t.Fatal(err)
	}
	c := newCall(t, layout, tokens, size)
	c.Mask = m
	return c
}

// equalDocuments are n of them.
func equalDocuments(tokens, n int) []int {
	var cu []int
	for i := range n + 1 {
		cu = append(cu, tokens*i/n)
	}
	return cu
}

// sent is what all ranks of a call send in a forward and a backward pass.
func sent(t *testing.T, c ring.Call) (total dist.Entry, most map[dist.Kind]int) {
	t.Helper()
	most = map[dist.Kind]int{}
	for rank := range c.Sharding.Ranks() {
		for k, e := range c.Plan().Sends(rank, 4) {
			total = total.Plus(e)
			most[k] = max(most[k], e.Hops)
		}
	}
	whole(t, c) // compares the ledgers
	return total, most
}

func TestDocumentsThatStayOnTheirRankSendNothing(t *testing.T) {
	for _, causal := range []bool{false, true} {
		c := maskedCall(t, mask.Spec{Causal: causal, CuSeqlens: equalDocuments(64, 16)}, shard.Contiguous, 64, 4)
		if total, _ := sent(t, c); total != (dist.Entry{}) {
			t.Errorf("causal %t: %+v is sent for documents that do not cross ranks", causal, total)
		}
	}
}

func TestAWindowSendsToTheRanksItReaches(t *testing.T) {
	for _, w := range []struct {
		window mask.Window
		causal bool
		hops   int
	}{{mask.Window{Left: 8, Right: -1}, true, 1}, {mask.Window{Left: 9, Right: -1}, true, 2}, {mask.Window{Left: 3, Right: 3}, false, 2}, {mask.Window{}, false, 0}} {
		c := maskedCall(t, mask.Spec{Causal: w.causal, Window: &w.window}, shard.Contiguous, 64, 8)
		_, most := sent(t, c)
		for _, k := range []dist.Kind{dist.ForwardKV, dist.BackwardKV, dist.BackwardDKV} {
			if most[k] != w.hops {
				t.Errorf("window %+v, causal %t: %d hops of %s, want %d", w.window, w.causal, most[k], k, w.hops)
			}
		}
	}
}

// A block skips the ranks that do not need it, and its gradients go home from the last that does.
func TestBlocksSkipRanksThatDoNotNeedThem(t *testing.T) {
	far := []mask.Rectangle{{QueryFrom: 12, QueryTo: 16, KeyTo: 4}} // the last of 4 ranks sees the first, and nobody else anything
	c := maskedCall(t, mask.Spec{Rectangles: far}, shard.Contiguous, 16, 4)
	total, most := sent(t, c)
	if total.Hops != 3 || most[dist.ForwardKV] != 1 || most[dist.BackwardKV] != 1 || most[dist.BackwardDKV] != 1 {
		t.Errorf("%+v is sent, %v by one rank: want one hop of K and V in each pass, and one of dK and dV", total, most)
	}
}

func TestTilesWithNothingVisibleCostNothing(t *testing.T) {
	const tokens, size = 2048, 4
	for name, s := range map[string]mask.Spec{
		"documents": {Causal: true, CuSeqlens: equalDocuments(tokens, 8)},
		"window":    {Causal: true, Window: &mask.Window{Left: 255, Right: -1}},
	} {
		for _, layout := range shard.Layouts() {
			c := maskedCall(t, s, layout, tokens, size)
			visible := uint64(c.Mask.Areas(0, tokens, tokens)[tokens])
			err := local.Run(t.Context(), size, dist.Options{}, func(ctx context.Context, comm *dist.Comm) error {
				r, err := ring.NewRank[float32](comm, c)
				if err != nil {
					return err
				}
				in, _ := inputs[float32](c, comm.Rank())
				if err := dist.Barrier(ctx, comm); err != nil {
					return err
				}
				before := meter.Work()
				if err := dist.Barrier(ctx, comm); err != nil {
					return err
				}
				if _, err := r.Forward(ctx, in); err != nil {
					return err
				}
				if err := dist.Barrier(ctx, comm); err != nil {
					return err
				}
				work := meter.Work() - before
				pairs := float64(work) / float64(2*c.Heads*(c.Dim+c.ValueDim))
				if comm.Rank() == 0 && layout != shard.Striped && pairs > 1.35*float64(visible) {
					t.Errorf("%s, %s: %.0f pairs are computed for %d visible ones", name, layout, pairs, visible)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestAutoTravelSendsWhatIsLess(t *testing.T) {
	c := newCall(t, shard.Zigzag, 64, 4)
	c.Travel = ring.Auto
	c.Heads, c.KVHeads = 8, 1
	if got := c.Plan().Travel(); got != ring.KV {
		t.Errorf("with 8 query heads to a KV head %s travels", got)
	}
	c.Heads, c.KVHeads = 2, 2
	c.Queries, _ = shard.New(shard.Zigzag, 8, 4) // a short chunk of queries over a long past
	c.QueryOffset = 56
	if got := c.Plan().Travel(); got != ring.Q {
		t.Errorf("with 8 queries for 64 keys %s travels", got)
	}
}

func TestEnteringAnInnerRingIsBookedAsOuter(t *testing.T) {
	c := newCall(t, shard.Zigzag, 64, 8)
	c.Inner = 4
	total := map[dist.Kind]int{}
	for rank := range 8 {
		for k, e := range c.Plan().Sends(rank, 4) {
			total[k] += e.Hops
		}
	}
	// 8 blocks make 7 hops each, 1 of them to the other inner ring; gradients come home through a second
	for k, want := range map[dist.Kind]int{
		dist.ForwardKV: 48, dist.ForwardKVOuter: 8, dist.BackwardKV: 48, dist.BackwardKVOuter: 8, dist.BackwardDKV: 40, dist.BackwardDKVOuter: 16,
	} {
		if total[k] != want {
			t.Errorf("%d hops of %s, want %d", total[k], k, want)
		}
	}
}

func TestOptionsThatNobodyCanHonourAreNamed(t *testing.T) {
	good := newCall(t, shard.Zigzag, 64, 4)
	for want, spoil := range map[string]func(c *ring.Call){
		"softcap -1":                    func(c *ring.Call) { c.Softcap = -1 },
		"softcap NaN":                   func(c *ring.Call) { c.Softcap = math.NaN() },
		"3 ALiBi slopes for 2":          func(c *ring.Call) { c.Slopes = make([]float64, 3) },
		"ALiBi slope +Inf of head 1":    func(c *ring.Call) { c.Slopes = []float64{1, math.Inf(1)} },
		"dropout 1":                     func(c *ring.Call) { c.Dropout.P = 1 },
		"dropout NaN":                   func(c *ring.Call) { c.Dropout.P = math.NaN() },
		"query offset -3":               func(c *ring.Call) { c.QueryOffset = -3 },
		`travel "sideways"`:             func(c *ring.Call) { c.Travel = "sideways" },
		"Ulysses groups of 3":           func(c *ring.Call) { c.Ulysses = 3 },
		"2 query and 1 KV heads":        func(c *ring.Call) { c.Ulysses = 2 },
		"inner rings of 3":              func(c *ring.Call) { c.Inner = 3 },
		"queries are dealt to 2 ranks":  func(c *ring.Call) { c.Queries, _ = shard.New(shard.Contiguous, 8, 2) },
		"value head dim 300: give 1 to": func(c *ring.Call) { c.ValueDim = 300 },
	} {
		c := good
		spoil(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %q in it", err, want)
		}
	}
	c := good
	c.Ulysses = 2
	if err := c.Validate(); !errors.Is(err, ring.ErrHeads) {
		t.Errorf("heads that do not divide give %v", err)
	}
	err := local.Run(t.Context(), 1, dist.Options{}, func(_ context.Context, comm *dist.Comm) error {
		c := newCall(t, shard.Contiguous, 8, 1)
		c.Sinks = true
		r, err := ring.NewRank[float64](comm, c)
		if err != nil {
			return err
		}
		in, _ := inputs[float64](c, 0)
		in.Sinks = make([]float64, 3)
		if _, err := r.Forward(t.Context(), in); err == nil || !strings.Contains(err.Error(), "3 sinks for 2 heads") {
			t.Errorf("sinks of a wrong length give %v", err)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
