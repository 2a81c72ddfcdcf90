package hf

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/nlpodyssey/safetensors"
)

// The number types that weights are stored in, as config.json spells them.
const (
	Float32  = "float32"
	BFloat16 = "bfloat16"
	Float16  = "float16"
)

// storedType translates config.json's spelling of a type that weights are written in.
func storedType(name string) (safetensors.DType, error) {
	switch name {
	case Float32, "":
		return safetensors.F32, nil
	case BFloat16:
		return safetensors.BF16, nil
	case Float16:
		return safetensors.F16, nil
	}
	return 0, fmt.Errorf("hf: weights cannot be written as %q; use %s, %s or %s", name, Float32, BFloat16, Float16)
}

// decodeFloats widens or rounds little-endian numbers to float32 or float64. It reports false for a type that holds no real numbers.
func decodeFloats[T float32 | float64](out []T, data []byte, dtype safetensors.DType) bool {
	switch dtype {
	case safetensors.F32:
		for i := range out {
			out[i] = T(math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:])))
		}
	case safetensors.F64:
		for i := range out {
			out[i] = T(math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:])))
		}
	case safetensors.BF16:
		for i := range out {
			out[i] = T(math.Float32frombits(uint32(binary.LittleEndian.Uint16(data[2*i:])) << 16))
		}
	case safetensors.F16:
		for i := range out {
			out[i] = T(fromHalf(binary.LittleEndian.Uint16(data[2*i:])))
		}
	default:
		return false
	}
	return true
}

// encodeFloats stores float32 numbers, rounding to nearest, ties to even.
func encodeFloats(values []float32, dtype safetensors.DType) []byte {
	switch dtype {
	case safetensors.BF16:
		data := make([]byte, 2*len(values))
		for i, v := range values {
			binary.LittleEndian.PutUint16(data[2*i:], toBFloat(v))
		}
		return data
	case safetensors.F16:
		data := make([]byte, 2*len(values))
		for i, v := range values {
			binary.LittleEndian.PutUint16(data[2*i:], toHalf(v))
		}
		return data
	default:
		data := make([]byte, 4*len(values))
		for i, v := range values {
			binary.LittleEndian.PutUint32(data[4*i:], math.Float32bits(v))
		}
		return data
	}
}

// toBFloat keeps the upper half of a float32, rounded to nearest even; a NaN stays a quiet NaN.
func toBFloat(v float32) uint16 {
	u := math.Float32bits(v)
	if v != v {
		return uint16(u>>16) | 0x40
	}
	return uint16((u + 0x7fff + u>>16&1) >> 16)
}

// fromHalf widens an IEEE 754 half: 1 sign, 5 exponent, 10 fraction bits.
func fromHalf(h uint16) float32 {
	sign, exponent, fraction := uint32(h>>15)<<31, uint32(h>>10)&31, uint32(h)&1023
	switch exponent {
	case 0: // zero and subnormals: fraction · 2⁻²⁴
		return math.Float32frombits(sign | math.Float32bits(float32(fraction)*0x1p-24))
	case 31:
		return math.Float32frombits(sign | 0xff<<23 | fraction<<13)
	}
	return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
}

// toHalf rounds to the nearest half, ties to even; what is too large becomes infinite.
func toHalf(v float32) uint16 {
	u := math.Float32bits(v)
	sign, magnitude := uint16(u>>16)&0x8000, u&0x7fffffff
	switch {
	case magnitude > 0xff<<23: // NaN
		return sign | 0x7e00
	case magnitude >= 0x477ff000: // 65,520 and more round to infinity
		return sign | 0x7c00
	case magnitude < 0x38800000: // below 2⁻¹⁴: subnormal, a multiple of 2⁻²⁴
		return sign | uint16(math.RoundToEven(float64(math.Float32frombits(magnitude))*0x1p24))
	}
	magnitude += 0xfff + magnitude>>13&1
	return sign | uint16((magnitude-112<<23)>>13)
}
