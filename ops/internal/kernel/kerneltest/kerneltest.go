// Package kerneltest is the conformance suite of kernel.Attention. A kernel passes it if, fed with blocks of rows and keys as a ring
// feeds them, it gives what attention's definition gives in float64, for every shape, mask, cut and order of the blocks; and if it
// keeps the promises of the interface: sums, not overwrites, inputs left alone, bits that do not depend on threads, no buffer of
// the size of the score matrix.
//
// The reference is this package's own (dense.go) and shares nothing with any kernel.
package kerneltest

import (
	"testing"

	"github.com/ringgrad/ringgrad/ops/internal/kernel"
)

// Run holds the kernel that newKernel makes against every claim of the suite, as subtests of name.
func Run[T kernel.Float](t *testing.T, name string, newKernel func() kernel.Attention[T]) {
	claims := []struct {
		name string
		test func(*testing.T, kernel.Attention[T])
	}{
		{"EqualsDenseForEveryShape", equalsDenseForEveryShape[T]},
		{"EqualsDenseForEveryCut", equalsDenseForEveryCut[T]},
		{"StaysRightForHotLogits", staysRightForHotLogits[T]},
		{"ErrorDoesNotGrowWithBlocks", errorDoesNotGrowWithBlocks[T]},
		{"RowsThatSeeNothingAreZero", rowsThatSeeNothingAreZero[T]},
		{"NaNReachesTheRowsThatSeeIt", nanReachesTheRowsThatSeeIt[T]},
		{"InfiniteLogitsAreNotHidden", infiniteLogitsAreNotHidden[T]},
		{"GradientsAccumulate", gradientsAccumulate[T]},
		{"TouchesNothingElse", touchesNothingElse[T]},
		{"BitsDoNotDependOnThreads", bitsDoNotDependOnThreads[T]},
		{"ConcurrentCallsDoNotMeet", concurrentCallsDoNotMeet[T]},
		{"MemoryStaysBelowTheScoreMatrix", memoryStaysBelowTheScoreMatrix[T]},
	}
	t.Run(name, func(t *testing.T) {
		for _, c := range claims {
			t.Run(c.name, func(t *testing.T) { c.test(t, newKernel()) })
		}
	})
}
