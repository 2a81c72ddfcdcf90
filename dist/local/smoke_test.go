package local_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
)

func TestSmoke(t *testing.T) {
	for n := 1; n < 6; n++ {
		err := local.Run(t.Context(), n, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
			b := []float32{float32(c.Rank()), 1, 2}
			if err := dist.AllReduce(ctx, c, b); err != nil {
				return err
			}
			if b[0] != float32(n*(n-1)/2) || b[2] != float32(2*n) {
				return fmt.Errorf("got %v", b)
			}
			p := dist.Shift(c, dist.Move{Kind: dist.ForwardKV, Step: 1}, []float64{float64(c.Rank())}, 1)
			r, err := p.Wait(ctx)
			if err != nil || r[0] != float64((c.Rank()+n-1)%n) {
				return errors.Join(err, fmt.Errorf("got %v", r))
			}
			return dist.Barrier(ctx, c)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
