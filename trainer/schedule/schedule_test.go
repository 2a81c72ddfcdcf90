package schedule

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// TestRatesAreThoseOfTransformers holds against get_cosine_schedule_with_warmup(optimizer, 4, 12) and the linear and constant ones
// at a rate of 1, whose lambdas are a few lines of arithmetic.
func TestRatesAreThoseOfTransformers(t *testing.T) {
	for _, c := range []struct {
		schedule Schedule
		want     []float64
	}{
		{Schedule{Kind: "cosine", Rate: 1, Warmup: 4, Total: 12}, []float64{0, 0.25, 0.5, 0.75, 1, 0.9619397662556434, 0.8535533905932737, 0.6913417161825449, 0.5, 0.3086582838174551, 0.14644660940672627, 0.03806023374435663, 0}},
		{Schedule{Kind: "linear", Rate: 1, Warmup: 2, Total: 6}, []float64{0, 0.5, 1, 0.75, 0.5, 0.25, 0, 0}},
		{Schedule{Kind: "constant", Rate: 1, Warmup: 2, Total: 6}, []float64{0, 0.5, 1, 1, 1, 1, 1}},
		{Schedule{Kind: "cosine", Rate: 1, Total: 2, MinRatio: 0.1}, []float64{1, 0.55, 0.1}},
		{Schedule{Kind: "linear", Rate: 1}, []float64{1, 0}},
		{Schedule{Kind: "cosine", Rate: 1, Warmup: 4, Total: 2}, []float64{0, 0.25, 0.5}},
	} {
		for step, want := range c.want {
			if got := c.schedule.LR(step); math.Abs(got-want) > 1e-15 {
				t.Errorf("%+v: step %d has rate %v, want %v", c.schedule, step, got, want)
			}
		}
	}
}

func TestWhatIsOutOfRangeIsNamed(t *testing.T) {
	for want, s := range map[string]Schedule{
		`unknown kind "poly"`: {Kind: "poly"},
		"-1 warm-up steps":    {Kind: "linear", Warmup: -1, Total: 8},
		"the rate is NaN":     {Kind: "linear", Rate: math.NaN()},
		"lowest rate is 2":    {Kind: "cosine", Total: 8, MinRatio: 2},
	} {
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", s, err, want)
		}
	}
}

func ExampleSchedule() {
	s := Schedule{Kind: "cosine", Rate: 1e-3, Warmup: 2, Total: 6}
	for step := range 6 {
		fmt.Printf("%.2e ", s.LR(step))
	}
	// Output: 0.00e+00 5.00e-04 1.00e-03 8.54e-04 5.00e-04 1.46e-04
}
