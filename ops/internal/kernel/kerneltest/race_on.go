//go:build race

package kerneltest

// underRace says that the race detector is on: it slows the reference twentyfold and empties sync.Pools at random.
const underRace = true
