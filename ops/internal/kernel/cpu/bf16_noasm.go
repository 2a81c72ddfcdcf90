//go:build !amd64 || purego

package cpu

// assemblyPairSets is empty: this build has portable Go only.
func assemblyPairSets() []pairPrimitives { return nil }
