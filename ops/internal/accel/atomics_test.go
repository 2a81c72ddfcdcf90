package accel

import (
	"strings"
	"testing"
)

func TestTheEnvironmentLetsBitsDiffer(t *testing.T) {
	for value, fast := range map[string]bool{"": false, "0": false, "1": true} {
		t.Setenv(atomicsVariable, value)
		if o, err := optionsOf(); err != nil || o.Fast != fast {
			t.Errorf("%q gives %+v, %v", value, o, err)
		}
	}
	t.Setenv(atomicsVariable, "yes")
	if _, err := optionsOf(); err == nil || !strings.Contains(err.Error(), atomicsVariable) {
		t.Errorf("error %v, want one that names the variable", err)
	}
}
