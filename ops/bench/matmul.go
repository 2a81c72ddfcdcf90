package bench

import (
	"context"
	"errors"
	"fmt"
	"unsafe"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cpu"
)

// Product is C [M,N] = op(A)·op(B) over K. Trans says what is stored transposed, A's letter first: "nn", "nt", "tn" or "tt".
type Product struct {
	Layer   string // whose it is, "" for nobody's
	M, N, K int
	Trans   string
}

// Linear lists the products of a linear layer on the given rows: nt forward, nn for the gradient of its input and tn for that of its
// weight [out, in].
func Linear(name string, rows, in, out int) []Product {
	return []Product{
		{Layer: name, M: rows, N: out, K: in, Trans: "nt"},
		{Layer: name, M: rows, N: in, K: out, Trans: "nn"},
		{Layer: name, M: out, N: in, K: rows, Trans: "tn"},
	}
}

// Flops is the number of operations.
func (p Product) Flops() float64 { return 2 * float64(p.M) * float64(p.N) * float64(p.K) }

// Matmul is a list of products to measure in the same rounds.
type Matmul struct {
	Products []Product
	DType    string // float32 or float64
}

// MatmulResult is one line: a product.
type MatmulResult struct {
	Pass    string `json:"pass"` // matmul
	Device  string `json:"device"`
	ISA     string `json:"isa"`
	Layer   string `json:"layer,omitempty"`
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
	for _, p := range m.Products {
		errs = append(errs, p.validate())
	}
	if len(m.Products) == 0 {
		errs = append(errs, errors.New("bench: no products: give at least one of nn, nt, tn, tt"))
	}
	return errors.Join(errs...)
}

func (p Product) validate() error {
	var errs []error
	for _, size := range []struct {
		name  string
		value int
	}{{"m", p.M}, {"n", p.N}, {"k", p.K}} {
		if size.value < 1 {
			errs = append(errs, fmt.Errorf("bench: %s is %d: give at least 1", size.name, size.value))
		}
	}
	if p.Trans != "nn" && p.Trans != "nt" && p.Trans != "tn" && p.Trans != "tt" {
		errs = append(errs, fmt.Errorf("bench: trans %q: give some of nn, nt, tn, tt", p.Trans))
	}
	return errors.Join(errs...)
}

// Measure times the products on random matrices.
func (m Matmul) Measure(ctx context.Context, o Options) (MatmulReport, error) {
	if err := errors.Join(m.Validate(), o.Validate()); err != nil {
		return MatmulReport{}, err
	}
	o.EnsureDefaults()
	find := measureMatmul[float32]
	if m.DType == float64Name {
		find = measureMatmul[float64]
	}
	found, c, err := find(ctx, m, o)
	if err != nil {
		return MatmulReport{}, err
	}
	report := MatmulReport{Ceilings: c}
	for i, p := range m.Products {
		report.Results = append(report.Results, MatmulResult{
			Pass: "matmul", Device: "cpu", ISA: cpu.ISA(), Layer: p.Layer, M: p.M, N: p.N, K: p.K, Trans: p.Trans, DType: m.DType,
			Threads: o.Threads, Figures: found[i].Figures,
		})
	}
	return report, nil
}

// operands have room for the largest matrices of all products.
type operands[T kernel.Float] struct{ a, b, c []T }

func newOperands[T kernel.Float](products []Product) operands[T] {
	var a, b, c int
	for _, p := range products {
		a, b, c = max(a, p.M*p.K), max(b, p.K*p.N), max(c, p.M*p.N)
	}
	return operands[T]{a: normal[T](a, 1), b: normal[T](b, 2), c: make([]T, c)}
}

func measureMatmul[T kernel.Float](ctx context.Context, m Matmul, o Options) ([]measured, Ceilings, error) {
	in := newOperands[T](m.Products)
	var passes []pass
	for _, p := range m.Products {
		g := cpu.Matmul[T]{M: p.M, N: p.N, K: p.K, Alpha: 1, A: in.a, LDA: p.K, B: in.b, LDB: p.N, C: in.c, LDC: p.N}
		if g.TransA = p.Trans[0] == 't'; g.TransA {
			g.LDA = p.M
		}
		if g.TransB = p.Trans[1] == 't'; g.TransB {
			g.LDB = p.K
		}
		bytes := sizeOf[T]() * (float64(p.M)*float64(p.K) + float64(p.K)*float64(p.N) + float64(p.M)*float64(p.N))
		passes = append(passes, pass{cost{p.Flops(), bytes}, func(context.Context) error { cpu.Gemm(g); return nil }})
	}
	return measure[T](ctx, o, m.DType, passes)
}

// sizeOf is the size of an element in bytes.
func sizeOf[T kernel.Float]() float64 { return float64(unsafe.Sizeof(T(0))) }
