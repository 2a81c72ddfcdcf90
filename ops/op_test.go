package ops

import (
	"errors"
	"strings"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// panicking is a rule with a bug.
type panicking[T Float] struct{}

func (panicking[T]) forward(p *pass[T]) error  { p.out.data[p.out.width()] = 0; return nil }
func (panicking[T]) backward(p *pass[T]) error { return nil }

// A machine runs ops on a goroutine of its own, where a panic would end the process.
func TestPanicInARuleIsAnErrorThatNamesTheOp(t *testing.T) {
	g := gorgonia.NewGraph()
	x := gorgonia.NewMatrix(g, tensor.Float64, gorgonia.WithShape(1, 3), gorgonia.WithName("x"), gorgonia.WithInit(gorgonia.Zeroes()))
	if _, err := apply(plan{name: "buggy", in: []*gorgonia.Node{x}, out: tensor.Shape{1, 3}}, panicking[float64]{}); err != nil {
		t.Fatal(err)
	}
	m := gorgonia.NewTapeMachine(g)
	t.Cleanup(func() { _ = m.Close() })
	err := m.RunAll()
	if err == nil || !strings.Contains(err.Error(), "ops: buggy#") || !strings.Contains(err.Error(), "index out of range [3]") {
		t.Errorf("got error %v", err)
	}
}

func TestBackwardWithoutAFreshForwardIsAnError(t *testing.T) {
	o := &op[float64]{rule: add[float64]{}, name: "add", inShapes: []tensor.Shape{{1, 1}, {1, 1}}, outShape: tensor.Shape{1, 1}, grads: make([]array[float64], 2), lent: make([]bool, 2)}
	one := array[float64]{tensor.Shape{1, 1}, []float64{1}}.value()
	if _, err := o.Do(one, one); err != nil {
		t.Fatal(err)
	}
	values := []gorgonia.Value{one, one, one, one}
	if err := o.differentiate(values); err != nil {
		t.Fatal(err)
	}
	if err := o.differentiate(values); !errors.Is(err, errStale) {
		t.Errorf("the second backward of one forward gives error %v", err)
	}
}

func TestViewsAreReadInRowMajorOrder(t *testing.T) {
	d := tensor.New(tensor.WithShape(2, 3), tensor.WithBacking([]float64{1, 2, 3, 4, 5, 6}))
	column, err := d.Slice(nil, tensor.S(1, 3))
	if err != nil {
		t.Fatal(err)
	}
	a, err := arrayOf[float64](column.(*tensor.Dense))
	if err != nil {
		t.Fatal(err)
	}
	if want := []float64{2, 3, 5, 6}; len(a.data) != 4 || a.data[1] != want[1] || a.data[2] != want[2] {
		t.Errorf("d[:,1:3] is read as %v, want %v", a.data, want)
	}
	if err := d.T(); err != nil {
		t.Fatal(err)
	}
	a, err = arrayOf[float64](d)
	if err != nil {
		t.Fatal(err)
	}
	if want := []float64{1, 4, 2, 5, 3, 6}; a.data[1] != want[1] || a.data[4] != want[4] {
		t.Errorf("dᵀ is read as %v, want %v", a.data, want)
	}
}

func TestValuesOfAnotherKindAreErrors(t *testing.T) {
	for want, v := range map[string]gorgonia.Value{
		"float32, the op was built for float64": tensor.New(tensor.WithShape(2, 2), tensor.Of(tensor.Float32)),
		"a scalar is float32":                   gorgonia.NewF32(1),
		"has no value: bind it":                 nil,
		"of type *gorgonia.I: bind":             gorgonia.NewI(1),
	} {
		if _, err := arrayOf[float64](v); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
}
