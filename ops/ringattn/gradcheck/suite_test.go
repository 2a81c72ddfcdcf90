package gradcheck

import (
	"context"
	"testing"
)

func requireSuite(t *testing.T, r SuiteReport, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Checks {
		t.Logf("%-34s %5d runs  worst %9.3g of %9.3g  %5.2fs  %s", c.Name, c.Runs, c.Worst, c.Limit, c.Seconds, c.At)
		if !c.OK || c.Runs == 0 {
			t.Errorf("%s: %d runs, worst %g over %g: %v", c.Name, c.Runs, c.Worst, c.Limit, c.Failures)
		}
	}
}

func TestSuiteHolds(t *testing.T) {
	r, err := Suite(context.Background(), Options{Quick: true})
	requireSuite(t, r, err)
}
