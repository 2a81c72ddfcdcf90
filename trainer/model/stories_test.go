package model_test

import (
	"bufio"
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/trainer/hf"
	"github.com/ringgrad/ringgrad/trainer/model"
	"github.com/ringgrad/ringgrad/trainer/tokenizer"

	"github.com/ringgrad/ringgrad/trainer/internal/realdata"
)

// texts reads the first n documents of a JSONL file.
func texts(t *testing.T, path string, n int) []string {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // read only
	var all []string
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for len(all) < n && lines.Scan() {
		var document struct{ Text string }
		if err := json.Unmarshal(lines.Bytes(), &document); err != nil {
			t.Fatal(err)
		}
		all = append(all, document.Text)
	}
	return all
}

// TestStoriesHaveTransformersLosses evaluates a pretrained model on five speeches over rings of 1 and 3.
func TestStoriesHaveTransformersLosses(t *testing.T) {
	dir := realdata.Path(t, "stories260k")
	var reference struct {
		Eval []struct {
			Tokens   int     `json:"tokens"`
			FirstIDs []int32 `json:"first_ids"`
			MeanNLL  float64 `json:"mean_nll"`
		} `json:"eval_first_512_tokens_incl_bos"`
	}
	data, err := os.ReadFile(filepath.Join(dir, "reference.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &reference); err != nil {
		t.Fatal(err)
	}
	tokens, err := tokenizer.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	cfg, params := load(t, dir)
	for i, text := range texts(t, realdata.Path(t, "inaugural.jsonl"), len(reference.Eval)) {
		want := reference.Eval[i]
		ids, err := tokens.Encode(text, true)
		if err != nil {
			t.Fatal(err)
		}
		ids = ids[:min(len(ids), 512)]
		if len(ids) != want.Tokens || !slices.Equal(ids[:8], want.FirstIDs) {
			t.Fatalf("document %d: %d tokens from %v, want %d from %v", i, len(ids), ids[:8], want.Tokens, want.FirstIDs)
		}
		b := model.Batch{IDs: ids, Labels: append(slices.Clone(ids[1:]), model.IgnoreLabel), B: 1, T: len(ids)}
		for _, ring := range []int{1, 3} {
			if got := meanLoss(t, cfg, params, ring, b); math.Abs(got-want.MeanNLL) > 2e-6*want.MeanNLL {
				t.Errorf("document %d, ring %d: %v, want %v", i, ring, got, want.MeanNLL)
			}
		}
	}
}

func load(t *testing.T, dir string) (hf.Config, *model.Params[float32]) {
	t.Helper()
	cfg, err := hf.ReadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	weights, err := hf.LoadWeights(dir, cfg)
	if err != nil {
		t.Fatal(err)
	}
	params, err := model.FromHF[float32](cfg, weights)
	if err != nil {
		t.Fatal(err)
	}
	return cfg, params
}

// meanLoss is the mean over the batch's labels of all ranks.
func meanLoss(t *testing.T, cfg hf.Config, params *model.Params[float32], ring int, b model.Batch) float64 {
	t.Helper()
	sum := 0.0
	err := local.Run(context.Background(), ring, dist.Options{}, func(ctx context.Context, comm *dist.Comm) error {
		m, err := model.New(cfg, params, comm, model.Options{Layout: shard.Zigzag})
		if err != nil {
			return err
		}
		losses, err := m.Losses(ctx, b)
		if err != nil {
			return err
		}
		total := []float64{0}
		for _, loss := range losses {
			total[0] += float64(loss)
		}
		if err := dist.AllReduce(ctx, comm, total); err != nil {
			return err
		}
		if comm.Rank() == 0 {
			sum = total[0]
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return sum / float64(b.T-1)
}
