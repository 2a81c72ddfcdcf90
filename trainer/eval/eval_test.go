package eval

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/trainer/hf"
	"github.com/ringgrad/ringgrad/trainer/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tiny is a random model that every test of this package can afford.
func tiny(t *testing.T) (hf.Config, *model.Params[float32]) {
	t.Helper()
	cfg, err := hf.ConfigFromMap(map[string]any{
		"model_type": "llama", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1,
		"intermediate_size": 24, "vocab_size": 19, "max_position_embeddings": 64, "tie_word_embeddings": true, "initializer_range": 0.3,
	})
	if err != nil {
		t.Fatal(err)
	}
	return cfg, model.Init[float32](cfg, 7)
}

func documents(lengths ...int) [][]int32 {
	random := rand.New(rand.NewPCG(3, 4))
	var all [][]int32
	for _, n := range lengths {
		ids := make([]int32, n)
		for i := range ids {
			ids[i] = int32(random.IntN(19))
		}
		all = append(all, ids)
	}
	return all
}

// onRanks runs f on every rank of a ring with its own model and returns rank 0's result.
func onRanks(t *testing.T, size int, f func(context.Context, *model.Model[float32], *dist.Comm) (Result, error)) Result {
	t.Helper()
	cfg, params := tiny(t)
	var result Result
	err := local.Run(t.Context(), size, dist.Options{}, func(ctx context.Context, comm *dist.Comm) error {
		m, err := model.New(cfg, params, comm, model.Options{Layout: shard.Zigzag})
		if err != nil {
			return err
		}
		r, err := f(ctx, m, comm)
		if comm.Rank() == 0 {
			result = r
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func TestAnyRingGivesTheLossesOfOneRank(t *testing.T) {
	docs := documents(23, 2, 40)
	ring := func(ctx context.Context, m *model.Model[float32], comm *dist.Comm) (Result, error) {
		return Ring(ctx, m, comm, docs, Options{BinSize: 8})
	}
	want := onRanks(t, 1, ring)
	if want.Tokens != 22+1+39 || len(want.Documents) != 3 || len(want.ByPosition) != 5 {
		t.Fatalf("%d tokens, %d documents, %d bins", want.Tokens, len(want.Documents), len(want.ByPosition))
	}
	for _, size := range []int{2, 3, 5} {
		got := onRanks(t, size, ring)
		if math.Abs(got.Loss-want.Loss) > 1e-5*want.Loss {
			t.Errorf("ring of %d: loss %v, want %v", size, got.Loss, want.Loss)
		}
		for i, b := range got.ByPosition {
			if math.Abs(b.Loss-want.ByPosition[i].Loss) > 1e-5 || b.Tokens != want.ByPosition[i].Tokens {
				t.Errorf("ring of %d: bin %+v, want %+v", size, b, want.ByPosition[i])
			}
		}
	}
}

func TestTheMeanOfTheBinsIsTheLoss(t *testing.T) {
	r := onRanks(t, 1, func(ctx context.Context, m *model.Model[float32], comm *dist.Comm) (Result, error) {
		return Ring(ctx, m, comm, documents(9, 31), Options{})
	})
	sum, n := 0.0, 0
	for _, b := range r.ByPosition {
		sum += b.Loss * float64(b.Tokens)
		n += b.Tokens
	}
	if n != r.Tokens || math.Abs(sum/float64(n)-r.Loss) > 1e-12 || math.Abs(math.Exp(r.Loss)-r.Perplexity) > 1e-9 {
		t.Errorf("bins give %v over %d tokens, the result %v over %d", sum/float64(n), n, r.Loss, r.Tokens)
	}
}

// TestAWindowOfStrideOneIsWhatTheModelKnowsFromItsLastTokens compares with one forward pass for each position.
func TestAWindowOfStrideOneIsWhatTheModelKnowsFromItsLastTokens(t *testing.T) {
	docs := documents(21)
	const size = 6
	windowed := func(ranks int) Result {
		return onRanks(t, ranks, func(ctx context.Context, _ *model.Model[float32], comm *dist.Comm) (Result, error) {
			cfg, params := tiny(t)
			short, err := model.New(cfg, params, nil, model.Options{})
			if err != nil {
				return Result{}, err
			}
			return Sliding(ctx, short, comm, docs, Window{Size: size, Stride: 1, Batch: 3}, Options{BinSize: 1})
		})
	}
	got := windowed(1)
	cfg, params := tiny(t)
	m, err := model.New(cfg, params, nil, model.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range len(docs[0]) - 1 {
		from := max(0, i+1-size)
		batch, err := Shifted(docs[0][from : i+2])
		if err != nil {
			t.Fatal(err)
		}
		losses, err := m.Losses(t.Context(), batch)
		if err != nil {
			t.Fatal(err)
		}
		if want := float64(losses[i-from]); math.Abs(got.ByPosition[i].Loss-want) > 1e-5 {
			t.Errorf("position %d: loss %v, want %v", i, got.ByPosition[i].Loss, want)
		}
	}
	if three := windowed(3); three.Loss != got.Loss {
		t.Errorf("three ranks give %v, one %v", three.Loss, got.Loss)
	}
}

func TestPiecesScoreEveryPositionOnce(t *testing.T) {
	for n := 1; n < 40; n++ {
		for _, w := range []Window{{Size: 2, Stride: 1}, {Size: 8, Stride: 3}, {Size: 16, Stride: 16}, {Size: 64, Stride: 8}} {
			next := 0
			for _, p := range pieces(n, w) {
				if p.scored != next || p.start > p.scored || p.end-p.start > w.Size || p.end <= p.scored {
					t.Fatalf("n %d, window %+v: piece %+v does not go on from %d", n, w, p, next)
				}
				next = p.end
			}
			if next != n {
				t.Fatalf("n %d, window %+v: %d positions scored", n, w, next)
			}
		}
	}
}

func TestStopEndsAllRanksAtTheSameDocument(t *testing.T) {
	cfg, params := tiny(t)
	err := local.Run(t.Context(), 3, dist.Options{}, func(ctx context.Context, comm *dist.Comm) error {
		m, err := model.New(cfg, params, comm, model.Options{})
		if err != nil {
			return err
		}
		asked := 0
		_, err = Ring(ctx, m, comm, documents(5, 5, 5), Options{Stop: func() bool { asked++; return asked == 2 }})
		if err != ErrStopped { //nolint:errorlint // the bare value is promised
			t.Errorf("rank %d: %v, want ErrStopped", comm.Rank(), err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestADocumentWithoutTargetsIsRefused(t *testing.T) {
	if _, err := Shifted([]int32{1}); err == nil {
		t.Error("a document of one token was taken")
	}
}

func TestPlotWritesAWholePNG(t *testing.T) {
	path := filepath.Join(t.TempDir(), "loss.png")
	bins := []Bin{{0, 8, 2.5, 8}, {8, 16, 1.5, 8}}
	if err := Plot(path, "Loss", []Series{{"before", bins}, {"after", bins}}); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil || len(data) < 1000 || string(data[1:4]) != "PNG" {
		t.Errorf("%d bytes, %v", len(data), err)
	}
	if err := Plot(filepath.Join(t.TempDir(), "missing", "loss.png"), "Loss", nil); err == nil {
		t.Error("a folder that is not there was written to")
	}
}
