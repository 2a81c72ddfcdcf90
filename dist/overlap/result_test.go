package overlap

import (
	"math"
	"testing"
)

func TestRatiosAreThoseOfMediansAndMinima(t *testing.T) {
	r := result(4, []float64{0.040, 0.030, 0.050}, []float64{0.020, 0.030, 0.010}, []float64{0.050, 0.042, 0.048})
	near := func(name string, got, want float64) {
		t.Helper()
		if math.Abs(got-want) > 1e-12 {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	near("transfer", r.TransferMS, 40)
	near("compute", r.ComputeMS, 20)
	near("hop", r.HopMS, 48)
	near("ratio", r.Ratio, 48.0/40)
	near("ratio of minima", r.RatioMin, 42.0/30)
	near("hidden", r.Hidden, (40+20-48)/20.0)
	near("rate", r.GBsPerSecond, 4*1048576/0.040/1e9)
	if none := result(1, []float64{1}, []float64{1}, []float64{3}); none.Hidden != 0 {
		t.Errorf("a hop longer than the sum hides %v", none.Hidden)
	}
	if all := result(1, []float64{1}, []float64{1}, []float64{0.9}); all.Hidden != 1 {
		t.Errorf("a hop shorter than both hides %v", all.Hidden)
	}
}
