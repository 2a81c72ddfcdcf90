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

// claim is one property of a kernel. Those about values alone are left out under the race detector, which they do not concern.
type claim[T kernel.Float] struct {
	name       string
	valuesOnly bool
	test       func(testing.TB, kernel.Attention[T])
}

func claims[T kernel.Float]() []claim[T] {
	return []claim[T]{
		{"EqualsDenseForEveryShape", false, equalsDenseForEveryShape[T]},
		{"EqualsDenseForEveryCut", true, equalsDenseForEveryCut[T]},
		{"EqualsDenseForSampledShapes", true, equalsDenseForSampledShapes[T]},
		{"EqualsDenseForEveryOption", true, equalsDenseForEveryOption[T]},
		{"CarriesMerge", true, carriesMerge[T]},
		{"HiddenPairsMayHoldAnything", true, hiddenPairsMayHoldAnything[T]},
		{"StaysRightForHotLogits", true, staysRightForHotLogits[T]},
		{"StaysRightForEveryCourseOfLogits", true, staysRightForEveryCourseOfLogits[T]},
		{"StaysRightForDenormals", true, staysRightForDenormals[T]},
		{"ErrorDoesNotGrowWithBlocks", true, errorDoesNotGrowWithBlocks[T]},
		{"RowsThatSeeNothingAreZero", false, rowsThatSeeNothingAreZero[T]},
		{"KeysOfTheFutureAreNotTouched", false, keysOfTheFutureAreNotTouched[T]},
		{"WhatNothingSeesMayHoldAnything", false, whatNothingSeesMayHoldAnything[T]},
		{"NaNReachesTheRowsThatSeeIt", true, nanReachesTheRowsThatSeeIt[T]},
		{"InfiniteLogitsAreNotHidden", true, infiniteLogitsAreNotHidden[T]},
		{"GradientsAccumulate", false, gradientsAccumulate[T]},
		{"FreshGradientsOverwrite", false, freshGradientsOverwrite[T]},
		{"TouchesNothingElse", false, touchesNothingElse[T]},
		{"BitsDoNotDependOnThreads", false, bitsDoNotDependOnThreads[T]},
		{"ConcurrentCallsDoNotMeet", false, concurrentCallsDoNotMeet[T]},
		{"MemoryStaysBelowTheScoreMatrix", true, memoryStaysBelowTheScoreMatrix[T]},
	}
}

// Run holds the kernel that newKernel makes against every claim of the suite, as subtests of name.
func Run[T kernel.Float](t *testing.T, name string, newKernel func() kernel.Attention[T]) {
	t.Run(name, func(t *testing.T) {
		for _, c := range claims[T]() {
			t.Run(c.name, func(t *testing.T) {
				if c.valuesOnly && underRace {
					t.Skip("the race detector is on; values are checked without it")
				}
				c.test(t, newKernel())
			})
		}
	})
}
