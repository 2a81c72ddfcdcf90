package bench

import (
	"context"
	"errors"
	"fmt"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
)

// Matmul is a product C [M,N] = op(A)·op(B) over K. Trans lists what is transposed, A's letter first: "nn", "nt", "tn", "tt"; a
// linear layer computes nt forward, nn for the gradient of its input and tn for that of its weight.
type Matmul struct {
	M, N, K int
	Trans   []string
	DType   string // float32 or float64
}

// MatmulResult is one line: a product in one orientation.
type MatmulResult struct {
	Pass    string `json:"pass"` // matmul
	Device  string `json:"device"`
	ISA     string `json:"isa"`
	M       int    `json:"m"`
	N       int    `json:"n"`
	K       int    `json:"k"`
	Trans   string `json:"trans"`
	DType   string `json:"dtype"`
	Threads int    `json:"threads"`
	Figures
}

// MatmulReport is what a measurement found.
type MatmulReport struct {
	Results  []MatmulResult `json:"results"`
	Ceilings Ceilings       `json:"ceilings"`
}

// Validate reports all fields that cannot be honoured, joined into one error.
func (m Matmul) Validate() error {
	errs := []error{checkDType(m.DType)}
	for _, size := range []struct {
		name  string
		value int
	}{{"m", m.M}, {"n", m.N}, {"k", m.K}} {
		if size.value < 1 {
			errs = append(errs, fmt.Errorf("bench: %s is %d: give at least 1", size.name, size.value))
		}
	}
	for _, t := range m.Trans {
		if t != "nn" && t != "nt" && t != "tn" && t != "tt" {
			errs = append(errs, fmt.Errorf("bench: trans %q: give some of nn, nt, tn, tt", t))
		}
	}
	if len(m.Trans) == 0 {
		errs = append(errs, errors.New("bench: no trans: give some of nn, nt, tn, tt"))
	}
	return errors.Join(errs...)
}

// Flops is the number of operations of one product.
func (m Matmul) Flops() float64 { return 2 * float64(m.M) * float64(m.N) * float64(m.K) }

// Measure times the products on random normal matrices.
func (m Matmul) Measure(ctx context.Context, o Options) (MatmulReport, error) {
	if err := errors.Join(m.Validate(), o.Validate()); err != nil {
		return MatmulReport{}, err
	}
	o.EnsureDefaults()
	find := measureMatmul[float32]
	if m.DType == float64Name {
		find = measureMatmul[float64]
	}
	figures, c, err := find(ctx, m, o)
	if err != nil {
		return MatmulReport{}, err
	}
	report := MatmulReport{Ceilings: c}
	for i, t := range m.Trans {
		report.Results = append(report.Results, MatmulResult{
			Pass: "matmul", Device: "cpu", ISA: cpu.ISA(), M: m.M, N: m.N, K: m.K, Trans: t, DType: m.DType, Threads: o.Threads, Figures: figures[i],
		})
	}
	return report, nil
}

func measureMatmul[T kernel.Float](ctx context.Context, m Matmul, o Options) ([]Figures, Ceilings, error) {
	a, b, c := normal[T](m.M*m.K, 1), normal[T](m.K*m.N, 2), make([]T, m.M*m.N)
	var passes []pass
	for _, t := range m.Trans {
		g := cpu.Matmul[T]{M: m.M, N: m.N, K: m.K, Alpha: 1, A: a, LDA: m.K, B: b, LDB: m.N, C: c, LDC: m.N}
		if g.TransA = t[0] == 't'; g.TransA {
			g.LDA = m.M
		}
		if g.TransB = t[1] == 't'; g.TransB {
			g.LDB = m.K
		}
		passes = append(passes, pass{m.Flops(), func(context.Context) error { cpu.Gemm(g); return nil }})
	}
	return measure[T](ctx, o, passes)
}
