// Package schedule gives the learning rate of each step: a linear warm-up, then constant, linear or cosine decay, with the
// semantics of transformers' get_*_schedule_with_warmup.
package schedule

import (
	"fmt"
	"math"
)

// Schedule is the learning rate by step. A warm-up may be longer than the run, as in transformers: a run that is cut short for a
// trial (max_steps: 3) then ends while the rate still rises.
type Schedule struct {
	Kind     string  // constant, linear or cosine
	Rate     float64 // the rate at the end of the warm-up
	Warmup   int     // steps
	Total    int     // steps
	MinRatio float64 // cosine: the last rate as a share of Rate
}

// Validate names what is out of range.
func (s Schedule) Validate() error {
	switch {
	case s.Kind != "constant" && s.Kind != "linear" && s.Kind != "cosine":
		return fmt.Errorf("schedule: unknown kind %q: use constant, linear or cosine", s.Kind)
	case s.Warmup < 0 || s.Total < 0:
		return fmt.Errorf("schedule: %d warm-up steps of %d in all: use 0 or more", s.Warmup, s.Total)
	case s.Rate < 0 || math.IsNaN(s.Rate) || math.IsInf(s.Rate, 0):
		return fmt.Errorf("schedule: the rate is %v: use a finite number of 0 or more", s.Rate)
	case s.MinRatio < 0 || s.MinRatio > 1 || math.IsNaN(s.MinRatio):
		return fmt.Errorf("schedule: the lowest rate is %v of the highest: use 0 to 1", s.MinRatio)
	}
	return nil
}

// LR is the rate of the update after step updates: LR(0) belongs to the first one, and is 0 where there is a warm-up.
func (s Schedule) LR(step int) float64 {
	if step < s.Warmup {
		return s.Rate * float64(step) / float64(max(1, s.Warmup))
	}
	progress := float64(step-s.Warmup) / float64(max(1, s.Total-s.Warmup))
	switch s.Kind {
	case "linear":
		return s.Rate * max(0, 1-progress)
	case "cosine":
		share := max(0, 0.5*(1+math.Cos(math.Pi*progress)))
		return s.Rate * (s.MinRatio + (1-s.MinRatio)*share)
	}
	return s.Rate
}
