package main

import (
	"math"
	"testing"
	"time"

	"github.com/ringgrad/ringgrad/ops/meter"
	"github.com/ringgrad/ringgrad/trainer"
)

func TestThePartsOfAStepAddUpToItsTime(t *testing.T) {
	meter.Enable(true)
	defer meter.Enable(false)
	meter.Take()
	for range 2 { // ranks
		program, attention := meter.Start(meter.Program), meter.Start(meter.Attention)
		time.Sleep(4 * time.Millisecond)
		attention.End()
		op, product := meter.Start(meter.Op), meter.Start(meter.Product)
		time.Sleep(2 * time.Millisecond)
		product.End()
		time.Sleep(time.Millisecond)
		op.End()
		time.Sleep(time.Millisecond)
		program.End()
	}
	const wall = 10.0 // seconds: more than a machine under load takes for all that
	s := stepBench{plan: trainer.Plan{Ring: 2}, parts: map[string][]float64{}}
	s.keep(trainer.StepReport{Tokens: 100, TokensPerSecond: 50, RingWait: 0.001}, wall)
	sum := 0.0
	for _, part := range stepParts {
		seconds := s.parts[part]
		if len(seconds) != 1 || !(seconds[0] > 0) && part != "optimizer" {
			t.Fatalf("%s took %v", part, seconds)
		}
		sum += seconds[0]
	}
	if math.Abs(sum-wall) > 1e-9 || s.rates[0] != 10 {
		t.Errorf("the parts are %v of %v seconds, %v tokens per second", sum, wall, s.rates)
	}
	if wait := s.parts["ring_wait"][0]; wait != 0.002 {
		t.Errorf("a thousandth of the step's two seconds is %v", wait)
	}
}
