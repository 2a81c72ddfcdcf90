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
	ofCPU      string // why a light course leaves it out
	thin       int    // a light course takes one of so many of its cases; a claim with 1 is one case
	test       func(testing.TB, kernel.Attention[T])
}

func claims[T kernel.Float]() []claim[T] {
	return []claim[T]{
		{"EqualsDenseForEveryShape", false, "", 12, equalsDenseForEveryShape[T]},
		{"EqualsDenseForEveryCut", true, "", 12, equalsDenseForEveryCut[T]},
		{"EqualsDenseForSampledShapes", true, "", 9, equalsDenseForSampledShapes[T]},
		{"EqualsDenseForEveryOption", true, "", 3, equalsDenseForEveryOption[T]},
		{"CarriesMerge", true, "", 60, carriesMerge[T]},
		{"HiddenPairsMayHoldAnything", true, "", 1, hiddenPairsMayHoldAnything[T]},
		{"StaysRightForHotLogits", true, "", 18, staysRightForHotLogits[T]},
		{"StaysRightForEveryCourseOfLogits", true, "", 18, staysRightForEveryCourseOfLogits[T]},
		{"StaysRightForDenormals", true, "", 1, staysRightForDenormals[T]},
		{"ErrorDoesNotGrowWithBlocks", true, "", 8, errorDoesNotGrowWithBlocks[T]},
		{"RowsThatSeeNothingAreZero", false, "", 1, rowsThatSeeNothingAreZero[T]},
		{"KeysOfTheFutureAreNotTouched", false, "", 1, keysOfTheFutureAreNotTouched[T]},
		{"WhatNothingSeesMayHoldAnything", false, "", 1, whatNothingSeesMayHoldAnything[T]},
		{"NaNReachesTheRowsThatSeeIt", true, "", 24, nanReachesTheRowsThatSeeIt[T]},
		{"InfiniteLogitsAreNotHidden", true, "", 1, infiniteLogitsAreNotHidden[T]},
		{"GradientsAccumulate", false, "", 1, gradientsAccumulate[T]},
		{"FreshGradientsOverwrite", false, "", 1, freshGradientsOverwrite[T]},
		{"TouchesNothingElse", false, "", 4, touchesNothingElse[T]},
		{"BitsDoNotDependOnThreads", false, ofProcess, 1, bitsDoNotDependOnThreads[T]},
		{"ConcurrentCallsDoNotMeet", false, "", 1, concurrentCallsDoNotMeet[T]},
		{"MemoryStaysBelowTheScoreMatrix", true, ofProcess, 1, memoryStaysBelowTheScoreMatrix[T]},
	}
}

const ofProcess = "it is about threads and memory of this process, not about a device"

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
