//go:build !purego

package cpu

import "golang.org/x/sys/cpu"

// assemblyPairSets are the generated pair primitives this processor can run, the fastest first.
func assemblyPairSets() []pairPrimitives {
	if !cpu.X86.HasAVX512BF16 {
		return nil
	}
	vectors := pairPrimitives{
		name: "avx512bf16", product: productAVX512BF16, narrow: narrowAVX512BF16, zip: zipAVX512BF16, turn: turnAVX512BF16,
		weights: weightsAVX512BF16, gradients: gradientsAVX512BF16,
	}
	if !hasAMX() {
		return []pairPrimitives{vectors}
	}
	tiles := vectors
	tiles.name, tiles.product = "amx", productAMXBF16
	return []pairPrimitives{tiles, vectors}
}
