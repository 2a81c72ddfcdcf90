package ringattn

import (
	"fmt"
	"slices"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// elements returns the row-major elements of a value: its own memory where it is contiguous, else a copy. Views and
// transposed tensors are told by their strides, because gorgonia's order flags outlive the transposition.
func elements[T kernel.Float](name string, v gorgonia.Value, want tensor.Shape) ([]T, error) {
	t, ok := v.(*tensor.Dense)
	if !ok {
		return nil, fmt.Errorf("ringattn: %s is a %T, want a *tensor.Dense", name, v)
	}
	if !t.Shape().Eq(want) {
		return nil, fmt.Errorf("ringattn: %s has shape %v, the graph was built for %v", name, t.Shape(), want)
	}
	var data []T
	switch d := any(&data).(type) {
	case *[]float32:
		if t.Dtype() == tensor.Float32 {
			*d = t.Float32s()
		}
	case *[]float64:
		if t.Dtype() == tensor.Float64 {
			*d = t.Float64s()
		}
	}
	if data == nil {
		return nil, fmt.Errorf("ringattn: %s has dtype %v, the graph was built for %T", name, t.Dtype(), *new(T))
	}
	n, strides := want.TotalSize(), t.Strides()
	if len(strides) != len(want) {
		return nil, fmt.Errorf("ringattn: %s of shape %v has strides %v; pass an ordinary tensor", name, want, strides)
	}
	if contiguous(want, strides) {
		return data[:n:n], nil
	}
	out := make([]T, 0, n)
	return gather(out, data, want, strides), nil
}

// contiguous reports whether the strides are those of row-major order; those of axes of length 1 do not matter.
func contiguous(shape tensor.Shape, strides []int) bool {
	n := 1
	for i, length := range slices.Backward(shape) {
		if length != 1 && strides[i] != n {
			return false
		}
		n *= length
	}
	return true
}

// gather appends the elements of a strided array to out in row-major order.
func gather[T kernel.Float](out, data []T, shape tensor.Shape, strides []int) []T {
	if len(shape) == 0 {
		return append(out, data[0])
	}
	for i := range shape[0] {
		out = gather(out, data[i*strides[0]:], shape[1:], strides[1:])
	}
	return out
}

func newTensor[T kernel.Float](shape tensor.Shape, data []T) *tensor.Dense {
	return tensor.New(tensor.WithShape(shape.Clone()...), tensor.WithBacking(data))
}
