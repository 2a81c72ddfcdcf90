package ops

import (
	"fmt"
	"slices"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// Float is the element type of a node: float32 to train, float64 to check gradients.
type Float interface{ float32 | float64 }

// array is a dense row-major value as a rule sees it. data has exactly the number of elements of shape, and a scalar has
// one element.
type array[T Float] struct {
	shape tensor.Shape
	data  []T
}

// rows is the number of rows of a matrix.
func (a array[T]) rows() int { return a.shape[0] }

// width is the number of columns of a matrix, or the length of a vector.
func (a array[T]) width() int { return a.shape[len(a.shape)-1] }

// row is row i of a matrix.
func (a array[T]) row(i int) []T {
	w := a.width()
	return a.data[i*w : (i+1)*w : (i+1)*w]
}

// value makes the value gorgonia binds to a node. The header is new on every run, because gorgonia writes into headers; the
// elements stay where they are.
func (a array[T]) value() gorgonia.Value {
	if a.shape.IsScalar() {
		if x, ok := any(a.data[0]).(float32); ok {
			return gorgonia.NewF32(x)
		}
		return gorgonia.NewF64(float64(a.data[0]))
	}
	return tensor.New(tensor.WithShape(a.shape.Clone()...), tensor.WithBacking(a.data))
}

// arrayOf reads a value. It copies where the value is a view that is not row-major.
func arrayOf[T Float](v gorgonia.Value) (array[T], error) {
	switch v := v.(type) {
	case *gorgonia.F32:
		return scalarOf[T](v.Data())
	case *gorgonia.F64:
		return scalarOf[T](v.Data())
	case *tensor.Dense:
		return denseOf[T](v)
	case nil:
		return array[T]{}, fmt.Errorf("an input has no value: bind it with gorgonia.Let before the run")
	}
	return array[T]{}, fmt.Errorf("a value of type %T: bind a *tensor.Dense", v)
}

func scalarOf[T Float](data any) (array[T], error) {
	x, ok := data.(T)
	if !ok {
		return array[T]{}, fmt.Errorf("a scalar is %T, the op was built for %T: bind values of one dtype", data, x)
	}
	return array[T]{shape: tensor.ScalarShape(), data: []T{x}}, nil
}

func denseOf[T Float](d *tensor.Dense) (array[T], error) {
	if d.IsScalar() {
		return scalarOf[T](d.Data())
	}
	if want := dtypeOf[T](); d.Dtype() != want {
		return array[T]{}, fmt.Errorf("a value is %v, the op was built for %v: bind values of one dtype", d.Dtype(), want)
	}
	size := d.Shape().TotalSize()
	if size == 0 { // Data would index the first element
		return array[T]{shape: d.Shape()}, nil
	}
	data, ok := d.Data().([]T)
	if !ok || !rowMajor(d) || len(data) != size {
		d = d.Materialize().(*tensor.Dense)
		if data, ok = d.Data().([]T); !ok || !rowMajor(d) || len(data) != size {
			return array[T]{}, fmt.Errorf("a value of shape %v with strides %v is not row-major: bind a copy", d.Shape(), d.Strides())
		}
	}
	return array[T]{shape: d.Shape(), data: data}, nil
}

func dtypeOf[T Float]() tensor.Dtype {
	if _, ok := any(*new(T)).(float32); ok {
		return tensor.Float32
	}
	return tensor.Float64
}

// rowMajor looks at the strides and not at gorgonia's data order flag, which still says transposed after a transpose has been
// carried out.
func rowMajor(d *tensor.Dense) bool {
	return slices.Equal(d.Strides(), d.Shape().CalcStrides())
}

// arraysOf reads the values of a run and checks their shapes against those the op was built for.
func arraysOf[T Float](values []gorgonia.Value, shapes []tensor.Shape) ([]array[T], error) {
	if len(values) != len(shapes) {
		return nil, fmt.Errorf("got %d values for %d inputs", len(values), len(shapes))
	}
	arrays := make([]array[T], len(values))
	for i, v := range values {
		a, err := arrayOf[T](v)
		if err != nil {
			return nil, fmt.Errorf("input %d: %w", i, err)
		}
		if !slices.Equal(a.shape, shapes[i]) {
			return nil, fmt.Errorf("input %d has shape %v, the graph was built for %v: build a graph per shape", i, a.shape, shapes[i])
		}
		arrays[i] = a
	}
	return arrays, nil
}
