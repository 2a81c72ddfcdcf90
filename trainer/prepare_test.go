package trainer

import (
	"strings"
	"testing"
)

// TestAKeyWithoutEffectIsSaid: gradient_checkpointing false gives the same numbers, but not the speed that it is asked for.
func TestAKeyWithoutEffectIsSaid(t *testing.T) {
	for _, checkpointing := range []bool{true, false} {
		cfg := tinyRun(t)
		cfg.GradientCheckpointing = checkpointing
		said := false
		prepared(t, cfg, Options{Observer: Observer{Noted: func(message string) {
			said = said || strings.Contains(message, "gradient_checkpointing")
		}}})
		if said == checkpointing {
			t.Errorf("gradient_checkpointing %t: a note is %t", checkpointing, said)
		}
	}
}
