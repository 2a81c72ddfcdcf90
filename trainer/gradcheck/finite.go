package gradcheck

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/trainer/model"
)

// finiteLimit is what a gradient may differ from a difference quotient by, relative to the tensor's largest gradient.
const finiteLimit = 1e-6

// FiniteResult compares the gradients of one parameter with differences of the loss, in float64.
type FiniteResult struct {
	Parameter string       `json:"parameter"`
	Ring      int          `json:"ring"`
	Layout    shard.Layout `json:"layout"`
	OK        bool         `json:"ok"`
	MaxRel    float64      `json:"max_rel"` // over the tensor's largest gradient
	Limit     float64      `json:"limit"`
}

// FiniteDifferences moves entries of every parameter of a small random model up and down, and compares the change of the loss with
// the gradient, over the given ring: through embedding, every op of the layers, attention and the loss.
func FiniteDifferences(ctx context.Context, ring int, layout shard.Layout) ([]FiniteResult, error) {
	o := Options{Rings: []int{ring}, Layouts: []shard.Layout{layout}, DTypes: []string{Float64}}
	if err := o.Validate(); err != nil {
		return nil, err
	}
	cfg, err := tiny()
	if err != nil {
		return nil, err
	}
	p := randomProblem(cfg, 2, 2, 7)
	s := o.settings()[0]
	want, err := evaluate(ctx, p, s)
	if err != nil {
		return nil, err
	}
	measured, err := measure(ctx, p, s, want.grads)
	if err != nil {
		return nil, err
	}
	var results []FiniteResult
	for _, parameter := range cfg.Parameters() {
		grad, top, worst := want.grads[parameter.Name], 0.0, 0.0
		for _, g := range grad {
			top = max(top, math.Abs(g))
		}
		for _, m := range measured[parameter.Name] {
			worst = max(worst, math.Abs(m.slope-grad[m.entry])/top)
		}
		if math.IsNaN(worst) || top == 0 {
			worst = incomparable
		}
		results = append(results, FiniteResult{parameter.Name, ring, layout, worst <= finiteLimit, worst, finiteLimit})
	}
	return results, nil
}

// slope is a measured derivative of the loss.
type slope struct {
	entry int
	slope float64
}

// measure takes the slopes at the entry with the largest gradient and at a random one of every parameter.
func measure(ctx context.Context, p problem, s setting, grads map[string][]float64) (map[string][]slope, error) {
	params, err := model.FromHF[float64](p.cfg, p.weights)
	if err != nil {
		return nil, err
	}
	measured := map[string][]slope{}
	err = local.Run(ctx, s.ring, dist.Options{}, func(ctx context.Context, comm *dist.Comm) error {
		m, err := model.New(p.cfg, params, comm, model.Options{Layout: s.layout})
		if err != nil {
			return err
		}
		defer m.Close() //nolint:errcheck // nothing is written
		random := rand.New(rand.NewPCG(3, 4))
		for _, t := range params.All() {
			for _, entry := range []int{steepest(grads[t.Name]), random.IntN(len(t.Data))} {
				d, err := differentiate(ctx, m, comm, p, &t.Data[entry])
				if err != nil {
					return fmt.Errorf("%s[%d]: %w", t.Name, entry, err)
				}
				if comm.Rank() == 0 {
					measured[t.Name] = append(measured[t.Name], slope{entry, d})
				}
			}
		}
		return nil
	})
	return measured, err
}

// steepest is the entry with the largest gradient.
func steepest(grad []float64) int {
	best := 0
	for i, g := range grad {
		if math.Abs(g) > math.Abs(grad[best]) {
			best = i
		}
	}
	return best
}

// differentiate is the five-point derivative of the mean loss with respect to one shared entry. Rank 0 moves the entry while the
// others wait.
func differentiate(ctx context.Context, m *model.Model[float64], comm *dist.Comm, p problem, entry *float64) (float64, error) {
	const h = 1e-3
	start := *entry
	if err := dist.Barrier(ctx, comm); err != nil { // all have read start
		return 0, err
	}
	var losses []float64
	for _, step := range []float64{-2 * h, -h, h, 2 * h} {
		if comm.Rank() == 0 {
			*entry = start + step
		}
		if err := dist.Barrier(ctx, comm); err != nil {
			return 0, err
		}
		sum, _, err := m.LossAndGrad(ctx, p.batch, 1, func(string, []float64) error { return nil })
		if err != nil {
			return 0, err
		}
		total := []float64{sum}
		if err := dist.AllReduce(ctx, comm, total); err != nil { // also: nobody reads the entry any more
			return 0, err
		}
		losses = append(losses, total[0]/float64(p.targets()))
	}
	if comm.Rank() == 0 {
		*entry = start
	}
	if err := dist.Barrier(ctx, comm); err != nil {
		return 0, err
	}
	return (losses[0] - 8*losses[1] + 8*losses[2] - losses[3]) / (12 * h), nil
}
