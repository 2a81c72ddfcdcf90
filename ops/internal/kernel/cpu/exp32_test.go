package cpu

import (
	"math"
	"testing"
)

func TestExp32IsRightToOneUnitInTheLastPlace(t *testing.T) {
	for x := float32(-104); x < 89; x += 0.00137 {
		want := math.Exp(float64(x))
		ulp := float64(math.Nextafter32(float32(want), math.MaxFloat32)) - float64(float32(want))
		if float64(float32(want)) > math.MaxFloat32 { // +Inf
			if got := exp32(x); !math.IsInf(float64(got), 1) {
				t.Fatalf("exp32(%v) = %v, want +Inf", x, got)
			}
			continue
		}
		if got := float64(exp32(x)); math.Abs(got-want) > 0.7*ulp {
			t.Fatalf("exp32(%v) = %v, want %v: off by %.2f units", x, got, want, math.Abs(got-want)/ulp)
		}
	}
}

func TestExp32AtTheEdges(t *testing.T) {
	inf := float32(math.Inf(1))
	for _, c := range []struct{ x, want float32 }{{0, 1}, {inf, inf}, {-inf, 0}, {1e30, inf}, {-1e30, 0}, {89, inf}, {-105, 0}} {
		if got := exp32(c.x); got != c.want {
			t.Errorf("exp32(%v) = %v, want %v", c.x, got, c.want)
		}
	}
	if got := exp32(float32(math.NaN())); got == got {
		t.Errorf("exp32(NaN) = %v, want NaN", got)
	}
}
