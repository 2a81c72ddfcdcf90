//go:build !amd64 || purego

package cpu

// assemblySets is empty: this build has portable Go only.
func assemblySets() []instructionSet { return nil }
