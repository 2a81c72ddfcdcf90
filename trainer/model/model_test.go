package model

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/trainer/hf"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testLayers = 3

// gemma is a Gemma 2 without masks.
var gemma = map[string]any{"model_type": "gemma2", "head_dim": 6, "attn_logit_softcapping": nil, "final_logit_softcapping": 3,
	"layer_types": slices.Repeat([]string{"full_attention"}, testLayers)}

// testConfig is a small tied Llama.
func testConfig(t testing.TB, change map[string]any) hf.Config {
	t.Helper()
	m := map[string]any{"model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": testLayers,
		"num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 31, "tie_word_embeddings": true, "initializer_range": 0.3}
	maps.Copy(m, change)
	cfg, err := hf.ConfigFromMap(m)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// testBatch draws ids and labels; every fifth label is ignored.
func testBatch(cfg hf.Config, batch, tokens int) Batch {
	random := rand.New(rand.NewPCG(5, uint64(batch*1000+tokens)))
	b := Batch{B: batch, T: tokens}
	for i := range batch * tokens {
		b.IDs = append(b.IDs, int32(random.IntN(cfg.VocabSize)))
		label := int32(random.IntN(cfg.VocabSize))
		if i%5 == 1 {
			label = IgnoreLabel
		}
		b.Labels = append(b.Labels, label)
	}
	return b
}

func discard(string, []float32) error { return nil }

// onRing runs f on the model of every rank.
func onRing(cfg hf.Config, p *Params[float32], size int, layout shard.Layout, f func(ctx context.Context, m *Model[float32], c *dist.Comm) error) error {
	return local.Run(context.Background(), size, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		m, err := New(cfg, p, c, Options{Layout: layout})
		if err != nil {
			return err
		}
		return errors.Join(f(ctx, m, c), m.Close())
	})
}

// alone is the model of one rank.
func alone(t testing.TB, cfg hf.Config, p *Params[float32]) *Model[float32] {
	t.Helper()
	m, err := New(cfg, p, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestRingForwardRunsOncePerStep counts the ring's passes and hops of two training steps.
func TestRingForwardRunsOncePerStep(t *testing.T) {
	cfg := testConfig(t, nil)
	const size, steps = 3, 2
	b := testBatch(cfg, 2, 13)
	err := onRing(cfg, Init[float32](cfg, 1), size, shard.Zigzag, func(ctx context.Context, m *Model[float32], c *dist.Comm) error {
		for range steps {
			if _, _, err := m.LossAndGrad(ctx, b, 1, discard); err != nil {
				return err
			}
		}
		s, err := m.shape(b)
		if err != nil {
			return err
		}
		if f, back := s.layer.attend[0].attention.Counts(); f != steps*testLayers || back != steps*testLayers {
			t.Errorf("rank %d: %d forwards and %d backwards in %d steps of %d layers", c.Rank(), f, back, steps, testLayers)
		}
		ledger := c.Ledger().Snapshot()
		for _, kind := range []dist.Kind{dist.ForwardKV, dist.BackwardKV, dist.BackwardDKV} {
			if got, want := ledger[kind].Hops, steps*testLayers*(size-1); got != want {
				t.Errorf("rank %d: %d hops of %s, want %d", c.Rank(), got, kind, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSinksGetEveryParameterOnceInOneOrder holds for tied and untied models, and for ranks without rows.
func TestSinksGetEveryParameterOnceInOneOrder(t *testing.T) {
	for _, change := range []map[string]any{nil, {"tie_word_embeddings": false}, gemma} {
		sinksGetEverythingOnce(t, testConfig(t, change))
	}
}

func sinksGetEverythingOnce(t *testing.T, cfg hf.Config) {
	t.Helper()
	p := Init[float32](cfg, 1)
	var mu sync.Mutex
	orders := map[int][]string{}
	err := onRing(cfg, p, 4, shard.Striped, func(ctx context.Context, m *Model[float32], c *dist.Comm) error {
		_, _, err := m.LossAndGrad(ctx, testBatch(cfg, 1, 3), 1, func(name string, grad []float32) error {
			mu.Lock()
			defer mu.Unlock()
			orders[c.Rank()] = append(orders[c.Rank()], name)
			if parameter, ok := p.Get(name); !ok || len(parameter.Data) != len(grad) {
				t.Errorf("gradient of %s has %d entries", name, len(grad))
			}
			if c.Rank() == 3 && slices.ContainsFunc(grad, func(g float32) bool { return g != 0 }) {
				t.Errorf("rank 3 has no rows and a gradient of %s", name)
			}
			return nil
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for rank := range 4 {
		if !slices.Equal(orders[rank], orders[0]) {
			t.Errorf("rank %d has another order than rank 0:\n%v\n%v", rank, orders[rank], orders[0])
		}
	}
	var want []string
	for _, parameter := range cfg.Parameters() {
		want = append(want, parameter.Name)
	}
	slices.Sort(want)
	if got := slices.Sorted(slices.Values(orders[0])); !slices.Equal(got, want) {
		t.Errorf("%s: got %v, want %v", cfg.ModelType, got, want)
	}
}

// TestLossesStandAtTheirPositions compares the rows of every rank with the one rank's row of the same global position.
func TestLossesStandAtTheirPositions(t *testing.T) {
	cfg := testConfig(t, nil)
	p := Init[float32](cfg, 1)
	for _, tokens := range []int{1, 2, 11} {
		b := testBatch(cfg, 2, tokens)
		want, err := alone(t, cfg, p).Losses(context.Background(), b)
		if err != nil {
			t.Fatal(err)
		}
		for _, layout := range shard.Layouts() {
			err := onRing(cfg, p, 3, layout, func(ctx context.Context, m *Model[float32], c *dist.Comm) error {
				got, err := m.Losses(ctx, b)
				if err != nil {
					return err
				}
				s := m.Sharding(b)
				rows := s.Len(c.Rank())
				if len(got) != 2*rows {
					return fmt.Errorf("%d losses for 2 times %d rows", len(got), rows)
				}
				for i, loss := range got {
					global := i/rows*tokens + s.Position(c.Rank(), i%rows)
					if math.Abs(float64(loss-want[global])) > 1e-5 || (b.Labels[global] < 0) != (loss == 0) {
						t.Errorf("%s rank %d row %d: loss %v, want %v", layout, c.Rank(), i, loss, want[global])
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestLossAndGradCountsItsOwnTargets compares with Losses.
func TestLossAndGradCountsItsOwnTargets(t *testing.T) {
	cfg := testConfig(t, nil)
	b := testBatch(cfg, 2, 9)
	m := alone(t, cfg, Init[float32](cfg, 1))
	losses, err := m.Losses(context.Background(), b)
	if err != nil {
		t.Fatal(err)
	}
	sum, tokens, err := m.LossAndGrad(context.Background(), b, 0.1, discard)
	if err != nil {
		t.Fatal(err)
	}
	want, count := 0.0, 0
	for i, loss := range losses {
		want += float64(loss)
		if b.Labels[i] >= 0 {
			count++
		}
	}
	if math.Abs(sum-want) > 1e-5*want || tokens != count {
		t.Errorf("sum %v of %d, want %v of %d", sum, tokens, want, count)
	}
}

// TestLogitsOfChosenRows compares rows chosen out of order with all rows.
func TestLogitsOfChosenRows(t *testing.T) {
	cfg := testConfig(t, nil)
	b := testBatch(cfg, 2, 4)
	m := alone(t, cfg, Init[float32](cfg, 1))
	all, err := m.Logits(context.Background(), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 8*cfg.VocabSize {
		t.Fatalf("%d logits", len(all))
	}
	some, err := m.Logits(context.Background(), b, []int{5, 0})
	if err != nil {
		t.Fatal(err)
	}
	v := cfg.VocabSize
	if !slices.Equal(some, append(slices.Clone(all[5*v:6*v]), all[:v]...)) {
		t.Error("rows 5 and 0 differ from those among all rows")
	}
	if none, err := m.Logits(context.Background(), b, []int{}); err != nil || len(none) != 0 {
		t.Errorf("no rows: %d logits, %v", len(none), err)
	}
	if _, err := m.Logits(context.Background(), b, []int{8}); err == nil || !strings.Contains(err.Error(), "row 8 of the 8 local rows") {
		t.Error(err)
	}
}

// collect runs one step of one rank and copies its gradients.
func collect(t *testing.T, m *Model[float32], b Batch, scale float64) map[string][]float32 {
	t.Helper()
	grads := map[string][]float32{}
	_, _, err := m.LossAndGrad(context.Background(), b, scale, func(name string, grad []float32) error {
		grads[name] = slices.Clone(grad)
		for i := range grad { // the sink may use the memory
			grad[i] = float32(math.NaN())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return grads
}

// TestStepsRepeatTheirBits also when other shapes ran between, more than are cached, and the sink overwrote the gradients.
func TestStepsRepeatTheirBits(t *testing.T) {
	for _, tied := range []bool{true, false} {
		cfg := testConfig(t, map[string]any{"tie_word_embeddings": tied})
		m := alone(t, cfg, Init[float32](cfg, 1))
		b := testBatch(cfg, 1, 10)
		first := collect(t, m, b, 1)
		for tokens := 1; tokens <= cached+1; tokens++ {
			collect(t, m, testBatch(cfg, 2, tokens), 1)
			if _, err := m.Losses(context.Background(), b); err != nil {
				t.Fatal(err)
			}
			if again := collect(t, m, b, 1); !equal(first, again) {
				t.Fatalf("after %d tokens the gradients differ", tokens)
			}
		}
		if n := len(m.shapes.values); n > cached {
			t.Errorf("%d shapes are kept, want at most %d", n, cached)
		}
	}
}

// TestChunksOfRowsAddUp compares losses and gradients of rows that go through the layers in chunks, even and uneven, with those of
// all rows at once.
func TestChunksOfRowsAddUp(t *testing.T) {
	for _, change := range []map[string]any{{"model_type": "qwen2"}, {"tie_word_embeddings": false, "mlp_bias": true}, gemma} {
		chunksAddUp(t, testConfig(t, change))
	}
}

func chunksAddUp(t *testing.T, cfg hf.Config) {
	t.Helper()
	p := Init[float32](cfg, 1)
	b := testBatch(cfg, 2, 11)
	want, wantLosses := collect(t, alone(t, cfg, p), b, 0.1), losses(t, alone(t, cfg, p), b)
	for _, limit := range []int{1, 4, 7, 11, 21} {
		m := alone(t, cfg, p)
		m.chunkRows = limit
		if d := distance(losses(t, m, b), wantLosses); d > 1e-6 {
			t.Errorf("chunks of %d: losses differ by %.1g of the largest", limit, d)
		}
		for step := range 2 {
			for name, grad := range collect(t, m, b, 0.1) {
				if d := distance(grad, want[name]); d > 1e-5 {
					t.Errorf("chunks of %d, step %d: gradient of %s differs by %.1g of its largest entry", limit, step, name, d)
				}
			}
		}
	}
}

func losses(t *testing.T, m *Model[float32], b Batch) []float32 {
	t.Helper()
	l, err := m.Losses(context.Background(), b)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// distance is the largest difference, divided by the largest entry of want.
func distance(got, want []float32) float64 {
	far, largest := 0.0, 0.0
	for i, w := range want {
		far, largest = max(far, math.Abs(float64(got[i]-w))), max(largest, math.Abs(float64(w)))
	}
	if far == 0 {
		return 0
	}
	return far / largest
}

func equal(a, b map[string][]float32) bool {
	for name := range a {
		if !slices.Equal(a[name], b[name]) {
			return false
		}
	}
	return len(a) == len(b)
}

// TestPaddingGivesTheEmbeddingNoGradient, as in transformers.
func TestPaddingGivesTheEmbeddingNoGradient(t *testing.T) {
	cfg := testConfig(t, map[string]any{"tie_word_embeddings": false, "pad_token_id": 7})
	b := testBatch(cfg, 1, 4)
	b.IDs = []int32{3, 7, 7, 5}
	grad := collect(t, alone(t, cfg, Init[float32](cfg, 1)), b, 1)[hf.EmbeddingName]
	for id, zero := range map[int]bool{3: false, 5: false, 7: true, 8: true} {
		row := grad[id*cfg.HiddenSize:][:cfg.HiddenSize]
		if got := slices.Equal(row, make([]float32, len(row))); got != zero {
			t.Errorf("row %d has gradient %v", id, row)
		}
	}
}

// TestGradientsFollowTheScale doubles it, which is exact.
func TestGradientsFollowTheScale(t *testing.T) {
	cfg := testConfig(t, nil)
	m := alone(t, cfg, Init[float32](cfg, 1))
	b := testBatch(cfg, 1, 10)
	one, two := collect(t, m, b, 0.25), collect(t, m, b, 0.5)
	for name := range one {
		for i, g := range one[name] {
			if two[name][i] != 2*g {
				t.Fatalf("%s[%d] is %v, want twice %v", name, i, two[name][i], g)
			}
		}
	}
}

// TestUpdatesInPlaceAreSeen changes a shared weight between two runs.
func TestUpdatesInPlaceAreSeen(t *testing.T) {
	cfg := testConfig(t, nil)
	p := Init[float32](cfg, 1)
	m := alone(t, cfg, p)
	b := testBatch(cfg, 1, 6)
	before, err := m.Losses(context.Background(), b)
	if err != nil {
		t.Fatal(err)
	}
	for _, parameter := range p.All() {
		start := parameter.Data[0]
		parameter.Data[0] += 0.5
		after, err := m.Losses(context.Background(), b)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Equal(before, after) && parameter.Name != hf.EmbeddingName {
			t.Errorf("a change of %s is not seen", parameter.Name)
		}
		parameter.Data[0] = start
	}
}

// TestBadBatchesAreNamed on every rank, before anything is computed.
func TestBadBatchesAreNamed(t *testing.T) {
	cfg := testConfig(t, nil)
	m := alone(t, cfg, Init[float32](cfg, 1))
	for want, b := range map[string]Batch{
		"0 sequences":                 {T: 1},
		"2 ids and 1 labels":          {IDs: []int32{1, 2}, Labels: []int32{1}, B: 1, T: 2},
		"token 1 of sequence 0 is 31": {IDs: []int32{1, 31}, Labels: []int32{1, 1}, B: 1, T: 2},
		"token 0 of sequence 1 is -1": {IDs: []int32{1, -1}, Labels: []int32{1, 1}, B: 2, T: 1},
		"label 1 of sequence 0 is 99": {IDs: []int32{1, 2}, Labels: []int32{1, 99}, B: 1, T: 2},
	} {
		_, err := m.Losses(context.Background(), b)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
		if strings.Contains(want, " of sequence ") && !errors.Is(err, ops.ErrToken) {
			t.Errorf("%v is no ErrToken", err)
		}
	}
	if _, _, err := m.LossAndGrad(context.Background(), testBatch(cfg, 1, 2), 0, discard); err == nil || !strings.Contains(err.Error(), "scale") {
		t.Error(err)
	}
}

// TestWrongParametersAndLayoutsAreRefused when the model is made.
func TestWrongParametersAndLayoutsAreRefused(t *testing.T) {
	cfg := testConfig(t, nil)
	other := testConfig(t, map[string]any{"intermediate_size": 8})
	if _, err := New(cfg, Init[float32](other, 1), nil, Options{}); err == nil || !strings.Contains(err.Error(), "mlp.gate_proj.weight has 128 entries") {
		t.Error(err)
	}
	if _, err := New[float32](cfg, nil, nil, Options{}); err == nil {
		t.Error("no parameters: no error")
	}
	if _, err := New(cfg, Init[float32](cfg, 1), nil, Options{Layout: "spiral"}); err == nil || !strings.Contains(err.Error(), "spiral") {
		t.Error(err)
	}
	if _, err := FromHF[float32](cfg, nil); err == nil || !strings.Contains(err.Error(), hf.EmbeddingName) {
		t.Error(err)
	}
}

// TestFailingRankFreesTheOthers lets one sink fail while the others wait in the ring.
func TestFailingRankFreesTheOthers(t *testing.T) {
	cfg := testConfig(t, nil)
	planted := errors.New("planted")
	err := onRing(cfg, Init[float32](cfg, 1), 3, shard.Contiguous, func(ctx context.Context, m *Model[float32], c *dist.Comm) error {
		_, _, err := m.LossAndGrad(ctx, testBatch(cfg, 1, 12), 1, func(name string, _ []float32) error {
			if c.Rank() == 1 && strings.Contains(name, "layers.1.") {
				return planted
			}
			return nil
		})
		return err
	})
	if !errors.Is(err, planted) {
		t.Error(err)
	}
}

// TestEndOfContextEndsTheRing while a rank is missing.
func TestEndOfContextEndsTheRing(t *testing.T) {
	cfg := testConfig(t, nil)
	p := Init[float32](cfg, 1)
	ctx, cancel := context.WithCancel(context.Background())
	err := local.Run(ctx, 2, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		if c.Rank() == 1 {
			cancel()
			<-ctx.Done()
			return ctx.Err()
		}
		m, err := New(cfg, p, c, Options{})
		if err != nil {
			return err
		}
		_, err = m.Losses(ctx, testBatch(cfg, 1, 12))
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
