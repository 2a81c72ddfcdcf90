//go:build !purego

package cpu

import "golang.org/x/sys/cpu"

//go:generate go run -C asm .

// assemblySets are the generated primitives this processor can run, the fastest
// first.
func assemblySets() []instructionSet {
	var s []instructionSet
	x := &cpu.X86
	if x.HasAVX512F && x.HasAVX512DQ && x.HasAVX512BW && x.HasAVX512VL && x.HasBMI2 {
		s = append(s, instructionSet{
			name: "avx512",
			f32:  primitives[float32]{nnAVX512F32, tnAVX512F32, expSubAVX512F32, columnMaxAVX512F32, subMulAVX512F32, scaleRowsAVX512F32, transposeAVX512F32, multiplyAddAVX512F32},
			f64:  primitives[float64]{nnAVX512F64, tnAVX512F64, expSubAVX512F64, columnMaxAVX512F64, subMulAVX512F64, scaleRowsAVX512F64, transposeAVX512F64, multiplyAddAVX512F64},
		})
	}
	if x.HasAVX2 && x.HasFMA {
		s = append(s, instructionSet{
			name: "avx2",
			f32:  primitives[float32]{nnAVX2F32, tnAVX2F32, expSubAVX2F32, columnMaxAVX2F32, subMulAVX2F32, scaleRowsAVX2F32, transposeAVX2F32, multiplyAddAVX2F32},
			f64:  primitives[float64]{nnAVX2F64, tnAVX2F64, expSubAVX2F64, columnMaxAVX2F64, subMulAVX2F64, scaleRowsAVX2F64, transposeAVX2F64, multiplyAddAVX2F64},
		})
	}
	return s
}
