package ops_test

import (
	"errors"
	"strings"
	"testing"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/ringgrad/ringgrad/ops"
)

func TestWrongNodesAreNamedWhenTheGraphIsBuilt(t *testing.T) {
	g := gorgonia.NewGraph()
	f32 := func(s ...int) *gorgonia.Node { return node[float32](g, "f32", s) }
	f64 := func(s ...int) *gorgonia.Node { return node[float64](g, "f64", s) }
	i32 := gorgonia.NewMatrix(g, tensor.Int32, gorgonia.WithShape(2, 3), gorgonia.WithName("i32"))
	for want, build := range map[string]func() (*gorgonia.Node, error){
		"ops: linear: x is nil: pass a node":                        func() (*gorgonia.Node, error) { return ops.Linear(nil, f32(2, 3), nil) },
		"ops: linear: w has shape (3): want 2 dims":                 func() (*gorgonia.Node, error) { return ops.Linear(f32(2, 3), f32(3), nil) },
		"ops: linear: w is float64 but x is float32: make both":     func() (*gorgonia.Node, error) { return ops.Linear(f32(2, 3), f64(4, 3), nil) },
		"ops: linear: x is (2, 3) and w is (3, 4): want w [out, 3]": func() (*gorgonia.Node, error) { return ops.Linear(f32(2, 3), f32(3, 4), nil) },
		"ops: linear: bias has 3 elements and w is (4, 3): want 4":  func() (*gorgonia.Node, error) { return ops.Linear(f32(2, 3), f32(4, 3), f32(3)) },
		"ops: linear: x is int32: want float32 or float64":          func() (*gorgonia.Node, error) { return ops.Linear(i32, i32, nil) },
		"ops: rmsnorm: 4 groups do not divide the width 6":          func() (*gorgonia.Node, error) { return ops.RMSNorm(f32(2, 6), f32(6), 0, 4) },
		"ops: rmsnorm: 0 groups do not divide":                      func() (*gorgonia.Node, error) { return ops.RMSNorm(f32(2, 6), f32(6), 0, 0) },
		"ops: rmsnorm: weight has 6 elements: want width/groups":    func() (*gorgonia.Node, error) { return ops.RMSNorm(f32(2, 6), f32(6), 0, 2) },
		"ops: rmsnorm: eps is -1: want a small positive":            func() (*gorgonia.Node, error) { return ops.RMSNorm(f32(2, 6), f32(6), -1, 1) },
		"ops: rope: x has 6 columns for 2 heads: want an even":      func() (*gorgonia.Node, error) { return ops.RoPE(f32(2, 6), 2, ops.NewRoPETable(2, 1)) },
		"ops: rope: x is (2, 8) with 2 heads: want the table":       func() (*gorgonia.Node, error) { return ops.RoPE(f32(2, 8), 2, ops.NewRoPETable(3, 2)) },
		"ops: swiglu: gate is (2, 3) and up is (3, 2): want one":    func() (*gorgonia.Node, error) { return ops.SwiGLU(f32(2, 3), f32(3, 2)) },
		"ops: geglu: gate is (2, 3) and up is (3, 2): want one":     func() (*gorgonia.Node, error) { return ops.GeGLU(f32(2, 3), f32(3, 2)) },
		"ops: clampedswiglu: gateUp has 3 columns: want gate and":   func() (*gorgonia.Node, error) { return ops.ClampedSwiGLU(f32(2, 3), 1, 7) },
		"ops: clampedswiglu: alpha is 1 and limit 0: want":          func() (*gorgonia.Node, error) { return ops.ClampedSwiGLU(f32(2, 4), 1, 0) },
		"ops: softcap: the limit is -1: want a finite positive":     func() (*gorgonia.Node, error) { return ops.Softcap(f32(2, 3), -1) },
		"ops: cappedcrossentropy: the limit is 0: want a finite": func() (*gorgonia.Node, error) {
			return ops.CappedCrossEntropy(f32(2, 3), f32(4, 3), ops.NewLabels(2), 0)
		},
		"ops: project: x is (2, 3) and w is (4, 3): want w [3, out]": func() (*gorgonia.Node, error) { return ops.Project(f32(2, 3), f32(4, 3), f32(3)) },
		"ops: project: bias has 3 elements and w is (3, 4): want 4":  func() (*gorgonia.Node, error) { return ops.Project(f32(2, 3), f32(3, 4), f32(3)) },
		"ops: zerocenteredrmsnorm: weight has 6 elements: want":      func() (*gorgonia.Node, error) { return ops.ZeroCenteredRMSNorm(f32(2, 6), f32(6), 0, 2) },
		"ops: add: a is (2, 3) and b is (3, 2): want one shape":      func() (*gorgonia.Node, error) { return ops.Add(f32(2, 3), f32(3, 2)) },
		"ops: embedding: ids is nil: pass NewIDs":                    func() (*gorgonia.Node, error) { return ops.Embedding(f32(2, 3), nil) },
		"ops: crossentropy: x is (2, 3) and w is (4, 2): want w":     func() (*gorgonia.Node, error) { return ops.CrossEntropy(f32(2, 3), f32(4, 2), ops.NewLabels(2)) },
		"ops: crossentropy: x has 2 rows: want the labels NewLabels": func() (*gorgonia.Node, error) { return ops.CrossEntropy(f32(2, 3), f32(4, 3), ops.NewLabels(3)) },
	} {
		if _, err := build(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
}

func TestSettingTheWrongNumberOfRowsIsAnError(t *testing.T) {
	for want, err := range map[string]error{
		"got 2 ids for 3 rows":                        ops.NewIDs(3).Set(make([]int32, 2)),
		"got 2 labels for 3 rows":                     ops.NewLabels(3).Set(make([]int32, 2)),
		"got 6 cosines and 5 sines: want 3 rows of 2": ops.NewRoPETable(3, 2).Set(make([]float64, 6), make([]float64, 5)),
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want %q", err, want)
		}
	}
}

// runOp runs one op forward on values bound by let.
func runOp(t *testing.T, build func(g *gorgonia.ExprGraph) (*gorgonia.Node, error)) error {
	t.Helper()
	g := gorgonia.NewGraph()
	if _, err := build(g); err != nil {
		t.Fatal(err)
	}
	m := gorgonia.NewTapeMachine(g)
	t.Cleanup(func() { _ = m.Close() })
	return m.RunAll()
}

func TestTokenOutsideTheVocabularyIsNamed(t *testing.T) {
	for _, id := range []int32{5, -1} {
		err := runOp(t, func(g *gorgonia.ExprGraph) (*gorgonia.Node, error) {
			ids := ops.NewIDs(2)
			if err := ids.Set([]int32{4, id}); err != nil {
				return nil, err
			}
			return ops.Embedding(matrix(t, g, "weight", 5, 1, 2, 3, 4, 5), ids)
		})
		if !errors.Is(ops.Cause(err), ops.ErrToken) || !strings.Contains(err.Error(), "row 1 has id") {
			t.Errorf("id %d: got error %v", id, err)
		}
	}
}

func TestTableThatIsNotSetIsAnError(t *testing.T) {
	err := runOp(t, func(g *gorgonia.ExprGraph) (*gorgonia.Node, error) {
		return ops.RoPE(matrix(t, g, "x", 1, 1, 2), 1, ops.NewRoPETable(1, 1))
	})
	if err == nil || !strings.Contains(err.Error(), "call RoPETable.Set before the run") {
		t.Errorf("got error %v", err)
	}
}
