package hf

import (
	"math"
	"math/big"
	"testing"
)

// TestHalvesSurviveWidening goes through all 65,536 of them.
func TestHalvesSurviveWidening(t *testing.T) {
	for h := range 1 << 16 {
		v := fromHalf(uint16(h))
		if v != v {
			if back := toHalf(v); back&0x7c00 != 0x7c00 || back&0x3ff == 0 {
				t.Errorf("%#x: NaN becomes %#x", h, back)
			}
			continue
		}
		if back := toHalf(v); back != uint16(h) {
			t.Errorf("%#x is %v, which becomes %#x", h, v, back)
		}
	}
}

// TestRoundingIsToNearestEven compares with math/big on a spread of values and on ties.
func TestRoundingIsToNearestEven(t *testing.T) {
	values := []float32{1 + 0x1p-11, 1 + 3*0x1p-11, 1 + 0x1p-8, 1 + 3*0x1p-8, 0x1p-25, 3 * 0x1p-25, 65_519, 2049, 2051, -2051, 0x1.fffp-15}
	for u := uint32(0x33000000); u < 0x47700000; u += 104_729 {
		values = append(values, math.Float32frombits(u))
	}
	for _, v := range values {
		precision := uint(11)
		if m := math.Abs(float64(v)); m < 0x1p-14 { // subnormal halves have fewer bits
			if want := float32(math.RoundToEven(m*0x1p24) * 0x1p-24); fromHalf(toHalf(v)) != want {
				t.Errorf("half of %v is %v, want %v", v, fromHalf(toHalf(v)), want)
			}
		} else if want := rounded(v, precision); fromHalf(toHalf(v)) != want {
			t.Errorf("half of %v is %v, want %v", v, fromHalf(toHalf(v)), want)
		}
		if got := math.Float32frombits(uint32(toBFloat(v)) << 16); got != rounded(v, 8) {
			t.Errorf("bfloat16 of %v is %v, want %v", v, got, rounded(v, 8))
		}
	}
	if !math.IsInf(float64(fromHalf(toHalf(65_520))), 1) || !math.IsInf(float64(fromHalf(toHalf(-1e9))), -1) {
		t.Error("large values must become infinite halves")
	}
	if nan := toBFloat(math.Float32frombits(0x7f800001)); nan&0x7f80 != 0x7f80 || nan&0x7f == 0 {
		t.Errorf("NaN becomes bfloat16 %#x", nan)
	}
}

func rounded(v float32, precision uint) float32 {
	f, _ := new(big.Float).SetMode(big.ToNearestEven).SetPrec(precision).SetFloat64(float64(v)).Float32()
	return f
}
