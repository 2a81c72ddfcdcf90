package gradcheck

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/adamw"
	"github.com/ringgrad/ringgrad/trainer/model"

	"github.com/ringgrad/ringgrad/trainer/internal/realdata"
)

// curve is what transformers and torch.optim.AdamW computed: loss and gradient norm before clipping of each step.
type curve struct {
	LR          float64      `json:"lr"`
	Betas       [2]float64   `json:"betas"`
	Epsilon     float64      `json:"eps"`
	WeightDecay float64      `json:"weight_decay"` // on every parameter
	Clip        float64      `json:"clip"`
	Points      [][2]float64 `json:"loss_and_grad_norm"`
}

// TestTrainingCurvesEqualTransformers takes ten AdamW steps with seven models over rings of 1 and 3 and wants the loss to 1e-4 and the
// gradient norm to 2e-4. The qwen3 folder is wider: one entry of its first gradient, model.embed_tokens.weight[155, 20], is -6.5e-8
// where its neighbours are 0.1, below the rounding of float32 and near Adam's epsilon, so its first step is up to chance. PyTorch's
// own float64 is 4e-5 and 4e-4 away from PyTorch's float32 there.
func TestTrainingCurvesEqualTransformers(t *testing.T) {
	root := realdata.Path(t, "hf")
	for _, name := range []string{"llama", "llama_untied_bias", "llama3_rope", "linear_rope", "yarn_rope", "qwen2", "qwen3"} {
		dir := filepath.Join(root, name)
		data, err := os.ReadFile(filepath.Join(dir, "reference.json"))
		if err != nil {
			t.Fatal(err)
		}
		var reference struct{ AdamW curve }
		if err := json.Unmarshal(data, &reference); err != nil {
			t.Fatal(err)
		}
		want := reference.AdamW
		if len(want.Points) == 0 {
			t.Fatalf("%s: no curve", name)
		}
		limits := [2]float64{1e-4, 2e-4}
		if name == "qwen3" {
			limits = [2]float64{4e-4, 4e-3}
		}
		for _, ring := range []int{1, 3} {
			for i, got := range train(t, dir, ring, want) {
				for j, what := range []string{"loss", "gradient norm"} {
					if w := want.Points[i][j]; !(math.Abs(got[j]-w) <= limits[j]*w) {
						t.Errorf("%s ring %d step %d: %s %v, want %v", name, ring, i+1, what, got[j], w)
					}
				}
			}
		}
	}
}

// train takes the steps of a curve with float32 weights that all ranks share; rank 0 updates them.
func train(t *testing.T, dir string, ring int, c curve) [][2]float64 {
	t.Helper()
	p, _, err := readReference(dir)
	if err != nil {
		t.Fatal(err)
	}
	params, err := model.FromHF[float32](p.cfg, p.weights)
	if err != nil {
		t.Fatal(err)
	}
	moments := map[string][2][]float32{}
	for _, parameter := range params.All() {
		moments[parameter.Name] = [2][]float32{make([]float32, len(parameter.Data)), make([]float32, len(parameter.Data))}
	}
	var points [][2]float64
	err = local.Run(context.Background(), ring, dist.Options{}, func(ctx context.Context, comm *dist.Comm) error {
		m, err := model.New(p.cfg, params, comm, model.Options{Layout: shard.Zigzag})
		if err != nil {
			return err
		}
		for step := range c.Points {
			grads := map[string][]float64{}
			sum, err := gradients(ctx, m, comm, p, grads)
			if err != nil {
				return err
			}
			total := []float64{sum}
			if err := dist.AllReduce(ctx, comm, total); err != nil { // all have read the weights
				return err
			}
			if comm.Rank() == 0 {
				norm := update(params, moments, grads, c, step+1)
				points = append(points, [2]float64{total[0] / float64(p.targets()), norm})
			}
			if err := dist.Barrier(ctx, comm); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return points
}

// update clips as torch.nn.utils.clip_grad_norm_ does, updates every parameter and returns the norm before clipping.
func update(params *model.Params[float32], moments map[string][2][]float32, grads map[string][]float64, c curve, step int) float64 {
	squares := 0.0
	for _, g := range grads {
		for _, x := range g {
			squares += x * x
		}
	}
	norm := math.Sqrt(squares)
	scale := min(1, c.Clip/(norm+1e-6))
	for _, parameter := range params.All() {
		grad := make([]float32, len(parameter.Data))
		for i, x := range grads[parameter.Name] {
			grad[i] = float32(x)
		}
		err := adamw.Update(adamw.Config{Beta1: c.Betas[0], Beta2: c.Betas[1], Epsilon: c.Epsilon}, adamw.Step{
			LR: c.LR, WeightDecay: c.WeightDecay, Step: step, Param: parameter.Data, Grad: grad,
			M: moments[parameter.Name][0], V: moments[parameter.Name][1], GradScale: scale,
		})
		if err != nil {
			panic(err) // a fault of the test: the lengths are the parameter's own
		}
	}
	return norm
}
