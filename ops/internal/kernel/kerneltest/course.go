package kerneltest

import (
	"hash/fnv"
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// light is a test that takes a selection of its cases, for kernels that run in an interpreter. Different kernels take different
// ones, so that together they have gone through most.
type light struct {
	testing.TB
	every int // one case in so many
	count *int
}

// takes reports whether a test has the next case on its course, which is all of them unless it is light.
func takes(t testing.TB) bool {
	l, ok := t.(light)
	if !ok {
		return true
	}
	*l.count++
	return *l.count%l.every == 0
}

// isLight reports whether a test is light.
func isLight(t testing.TB) bool {
	_, ok := t.(light)
	return ok
}

// RunLight is Run for kernels of a device, on a selection of the cases: of every claim as many as the full suite has, divided by the
// claim's own number and by thin. Claims run side by side. It also holds the kernel to having met no error.
func RunLight[T kernel.Float](t *testing.T, name string, thin int, newKernel func() kernel.Attention[T]) {
	t.Run(name, func(t *testing.T) {
		t.Parallel()
		for _, c := range claims[T]() {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				if underRace {
					t.Skip("the race detector is on; kernels of devices are tested without it")
				}
				if c.ofCPU != "" {
					t.Skip(c.ofCPU)
				}
				h := fnv.New32a()
				_, _ = h.Write([]byte(name + c.name))
				every := c.thin * thin
				first := int(h.Sum32() % uint32(every))
				selection := light{TB: t, every: every, count: &first}
				if c.thin == 1 && !takes(selection) {
					t.Skip("not on this course")
				}
				k := newKernel()
				c.test(selection, k)
				if f, ok := k.(kernel.Fallible); ok && f.Err() != nil {
					t.Error(f.Err())
				}
			})
		}
	})
}

// selected are those of some cases that a test takes.
func selected[E any](t testing.TB, cases ...E) (some []E) {
	for _, c := range cases {
		if takes(t) {
			some = append(some, c)
		}
	}
	return some
}
