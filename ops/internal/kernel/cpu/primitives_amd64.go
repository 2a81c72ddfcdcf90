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
			name:  "avx512",
			panel: panelSize{width: 256, depth: 4096},
			f32:   primitives[float32]{nnAVX512F32, tnAVX512F32, expSubAVX512F32, weighAVX512F32, columnMaxAVX512F32, subMulAVX512F32, scaleRowsAVX512F32, transposeAVX512F32, siftAVX512F32, biasAVX512F32, softcapAVX512F32, flattenAVX512F32, multiplyAddAVX512F32},
			f64:   primitives[float64]{nnAVX512F64, tnAVX512F64, expSubAVX512F64, weighAVX512F64, columnMaxAVX512F64, subMulAVX512F64, scaleRowsAVX512F64, transposeAVX512F64, siftAVX512F64, biasAVX512F64, softcapAVX512F64, flattenAVX512F64, multiplyAddAVX512F64},
			v32:   vectors[float32]{addAVX512F32, scaleAVX512F32, swigluAVX512F32, swigluGradAVX512F32, adamwAVX512F32, dotAVX512F32, accumulateAVX512F32, normScaleAVX512F32, normGradAVX512F32, normInputAVX512F32, rotateAVX512F32},
			v64:   vectors[float64]{addAVX512F64, scaleAVX512F64, swigluAVX512F64, swigluGradAVX512F64, adamwAVX512F64, dotAVX512F64, accumulateAVX512F64, normScaleAVX512F64, normGradAVX512F64, normInputAVX512F64, rotateAVX512F64},
			draw:  drawAVX512,
		})
	}
	if x.HasAVX2 && x.HasFMA {
		s = append(s, instructionSet{
			name:  "avx2",
			panel: panelSize{width: 64, depth: 2048},
			f32:   primitives[float32]{nnAVX2F32, tnAVX2F32, expSubAVX2F32, nil, columnMaxAVX2F32, subMulAVX2F32, scaleRowsAVX2F32, transposeAVX2F32, siftAVX2F32, biasAVX2F32, softcapAVX2F32, flattenAVX2F32, multiplyAddAVX2F32},
			f64:   primitives[float64]{nnAVX2F64, tnAVX2F64, expSubAVX2F64, nil, columnMaxAVX2F64, subMulAVX2F64, scaleRowsAVX2F64, transposeAVX2F64, siftAVX2F64, biasAVX2F64, softcapAVX2F64, flattenAVX2F64, multiplyAddAVX2F64},
			v32:   vectors[float32]{addAVX2F32, scaleAVX2F32, swigluAVX2F32, swigluGradAVX2F32, adamwAVX2F32, dotAVX2F32, accumulateAVX2F32, normScaleAVX2F32, normGradAVX2F32, normInputAVX2F32, rotateAVX2F32},
			v64:   vectors[float64]{addAVX2F64, scaleAVX2F64, swigluAVX2F64, swigluGradAVX2F64, adamwAVX2F64, dotAVX2F64, accumulateAVX2F64, normScaleAVX2F64, normGradAVX2F64, normInputAVX2F64, rotateAVX2F64},
			draw:  drawAVX2,
		})
	}
	return s
}
