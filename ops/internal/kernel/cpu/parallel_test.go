package cpu

import (
	"strings"
	"sync/atomic"
	"testing"
)

func TestParallelCallsEveryIndexOnce(t *testing.T) {
	for _, n := range []int{0, 1, 2, 7, 1000} {
		calls := make([]atomic.Int32, n)
		Parallel(n, func(i int) { calls[i].Add(1) })
		for i := range calls {
			if c := calls[i].Load(); c != 1 {
				t.Fatalf("n=%d: f(%d) was called %d times", n, i, c)
			}
		}
	}
}

func TestParallelRaisesAPanicInTheCallerOnceAllHaveEnded(t *testing.T) {
	var running atomic.Int32
	defer func() {
		r := recover()
		if text, ok := r.(string); r == nil || ok && !strings.Contains(text, "tile 3") {
			t.Errorf("recovered %v, want the panic of f", r)
		}
		if n := running.Load(); n != 0 {
			t.Errorf("%d calls were still running when Parallel returned", n)
		}
	}()
	Parallel(50, func(i int) {
		running.Add(1)
		defer running.Add(-1)
		if i == 3 {
			panic("tile 3")
		}
	})
}
