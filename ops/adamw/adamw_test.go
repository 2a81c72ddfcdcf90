package adamw_test

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/ops/adamw"
)

// paper does one step of Algorithm 2 of arXiv 1711.05101 (AdamW) in float64, in the paper's own form: bias-corrected moments
// first, then one subtraction that holds the decay.
func paper(p, m, v, g, lr, decay float64, t int) (np, nm, nv float64) {
	const beta1, beta2, epsilon = 0.9, 0.999, 1e-8
	m = beta1*m + (1-beta1)*g
	v = beta2*v + (1-beta2)*g*g
	mHat := m / (1 - math.Pow(beta1, float64(t)))
	vHat := v / (1 - math.Pow(beta2, float64(t)))
	return p - (lr*mHat/(math.Sqrt(vHat)+epsilon) + lr*decay*p), m, v
}

func TestUpdateEqualsThePaperOverManySteps(t *testing.T) {
	const n, lr, decay = 5, 1e-2, 0.1
	param, m, v := []float32{1, -2, 0.5, 0, 3}, make([]float32, n), make([]float32, n)
	want, wm, wv := []float64{1, -2, 0.5, 0, 3}, make([]float64, n), make([]float64, n)
	for step := 1; step <= 20; step++ {
		grad := make([]float32, n)
		for i := range grad {
			grad[i] = float32(math.Sin(float64(step*(i+1)))) * float32(math.Pow(10, float64(i-2)))
			want[i], wm[i], wv[i] = paper(want[i], wm[i], wv[i], float64(grad[i]), lr, decay, step)
		}
		update(t, adamw.Step{LR: lr, WeightDecay: decay, Step: step, Param: param, Grad: grad, M: m, V: v})
		for i := range want {
			if d := math.Abs(float64(param[i]) - want[i]); d > 1e-6*max(1, math.Abs(want[i])) {
				t.Fatalf("step %d: parameter %d is %v, want %v", step, i, param[i], want[i])
			}
		}
	}
}

// By hand, for g = 0.5, lr = 0.1, decay = 0.2 and p = 1 on the first step: m = 0.1·0.5 = 0.05, v = 0.001·0.25 = 0.00025; the bias
// corrections 0.1 and 0.001 make them 0.5 and 0.25; p = 1·(1-0.02) - 0.1·0.5/√0.25 = 0.88.
func TestFirstStepByHand(t *testing.T) {
	param, m, v := []float32{1}, []float32{0}, []float32{0}
	update(t, adamw.Step{LR: 0.1, WeightDecay: 0.2, Step: 1, Param: param, Grad: []float32{0.5}, M: m, V: v})
	for _, c := range []struct {
		name      string
		got, want float64
	}{{"param", float64(param[0]), 0.88}, {"m", float64(m[0]), 0.05}, {"v", float64(v[0]), 0.00025}} {
		if math.Abs(c.got-c.want) > 1e-7 {
			t.Errorf("%s is %v, want %v", c.name, c.got, c.want)
		}
	}
}

// A second step by hand with other betas: β1 = 0.5, β2 = 0.75, ε = 1, p = 2, lr = 0.25, no decay, gradients 1 and then 3.
// Step 1: m = 0.5, v = 0.25, p = 2 - 0.25/0.5·0.5/(0.5/0.5+1) = 1.875.
// Step 2: m = 1.75, v = 0.1875+2.25 = 2.4375, corrections 0.75 and 0.4375: p = 1.875 - (0.25/0.75)·1.75/(√2.4375/√0.4375+1).
func TestBetasAndEpsilonByHand(t *testing.T) {
	c := adamw.Config{Beta1: 0.5, Beta2: 0.75, Epsilon: 1}
	param, m, v := []float32{2}, []float32{0}, []float32{0}
	for step, want := range []float64{1.875, 1.875 - 1.75/3/(math.Sqrt(2.4375/0.4375)+1)} {
		s := adamw.Step{LR: 0.25, Step: step + 1, Param: param, Grad: []float32{float32(1 + 2*step)}, M: m, V: v}
		if err := adamw.Update(c, s); err != nil {
			t.Fatal(err)
		}
		if math.Abs(float64(param[0])-want) > 2e-7 {
			t.Fatalf("after step %d the parameter is %v, want %v", step+1, param[0], want)
		}
	}
}

func TestGradScaleScalesTheGradient(t *testing.T) {
	a, b := []float32{1}, []float32{1}
	am, av, bm, bv := []float32{0}, []float32{0}, []float32{0}, []float32{0}
	update(t, adamw.Step{LR: 0.1, Step: 1, Param: a, Grad: []float32{4}, M: am, V: av, GradScale: 0.25})
	update(t, adamw.Step{LR: 0.1, Step: 1, Param: b, Grad: []float32{1}, M: bm, V: bv})
	if am[0] != bm[0] || av[0] != bv[0] || a[0] != b[0] {
		t.Errorf("a gradient of 4 times 0.25 gives %v %v %v, a gradient of 1 %v %v %v", a, am, av, b, bm, bv)
	}
}

func TestBitsDoNotDependOnThreads(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	const n = 100_003
	var first []float32
	for _, threads := range []int{1, 2, 5} {
		runtime.GOMAXPROCS(threads)
		param, grad, m, v := make([]float32, n), make([]float32, n), make([]float32, n), make([]float32, n)
		for i := range grad {
			grad[i] = float32(math.Sin(float64(i)))
		}
		update(t, adamw.Step{LR: 1e-3, WeightDecay: 0.1, Step: 3, Param: param, Grad: grad, M: m, V: v})
		if first == nil {
			first = param
		} else if !slices.Equal(first, param) {
			t.Fatalf("%d threads give other bits than 1", threads)
		}
	}
}

func TestSumOfSquaresIsFloat64AndTheSameOnAnyNumberOfThreads(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	grad, want := make([]float32, 100_003), 0.0
	for i := range grad {
		grad[i] = float32(math.Sin(float64(i))) * 1e-3
		want += float64(grad[i]) * float64(grad[i])
	}
	one := adamw.SumOfSquares(grad)
	for _, threads := range []int{1, 2, 5} {
		runtime.GOMAXPROCS(threads)
		if got := adamw.SumOfSquares(grad); got != one || math.Abs(got-want) > 1e-12*want {
			t.Errorf("the sum on %d threads is %v, want %v and near %v", threads, got, one, want)
		}
	}
	grad[70_000] = float32(math.NaN())
	if got := adamw.SumOfSquares(grad); got == got {
		t.Errorf("the sum with a NaN is %v", got)
	}
}

func TestWrongSettingsAreErrorsAndWriteNothing(t *testing.T) {
	good := func() adamw.Step {
		return adamw.Step{LR: 1, Step: 1, Param: []float32{1}, Grad: []float32{1}, M: []float32{0}, V: []float32{0}}
	}
	for want, spoil := range map[string]func(*adamw.Config, *adamw.Step){
		"adamw: step is 0: count from 1":   func(_ *adamw.Config, s *adamw.Step) { s.Step = 0 },
		"adamw: 1 parameters with 2 grad":  func(_ *adamw.Config, s *adamw.Step) { s.Grad = []float32{1, 2} },
		"adamw: beta1 is 1: want 0 <= bet": func(c *adamw.Config, _ *adamw.Step) { c.Beta1 = 1 },
		"adamw: beta2 is -1: want 0 <= be": func(c *adamw.Config, _ *adamw.Step) { c.Beta2 = -1 },
		"adamw: epsilon is -1: want a pos": func(c *adamw.Config, _ *adamw.Step) { c.Epsilon = -1 },
		"adamw: learning rate NaN and wei": func(_ *adamw.Config, s *adamw.Step) { s.LR = math.NaN() },
	} {
		c, s := adamw.Config{}, good()
		spoil(&c, &s)
		err := adamw.Update(c, s)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got error %v, want %q", err, want)
		}
		if s.Param[0] != 1 || s.M[0] != 0 {
			t.Errorf("%q: the parameter was written", want)
		}
	}
}

func update(t *testing.T, s adamw.Step) {
	t.Helper()
	if err := adamw.Update(adamw.Config{}, s); err != nil {
		t.Fatal(err)
	}
}

func ExampleUpdate() {
	param, grad := []float32{1, -1}, []float32{0.5, 2}
	m, v := make([]float32, 2), make([]float32, 2) // kept from step to step
	for step := 1; step <= 3; step++ {
		s := adamw.Step{LR: 0.1, WeightDecay: 0.01, Step: step, Param: param, Grad: grad, M: m, V: v}
		if err := adamw.Update(adamw.Config{}, s); err != nil {
			fmt.Println(err)
			return
		}
	}
	fmt.Printf("%.4f\n", param)
	// Output: [0.6973 -1.2967]
}
