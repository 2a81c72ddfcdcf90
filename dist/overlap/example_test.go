package overlap_test

import (
	"context"
	"fmt"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/overlap"
)

func ExampleMeasure() {
	cfg := overlap.Config{MiB: []int{1, 2}, Rounds: 3}
	err := local.Run(context.Background(), 2, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		results, err := overlap.Measure(ctx, c, cfg)
		if err != nil || c.Rank() != 0 {
			return err
		}
		for _, r := range results {
			fmt.Println(r.MiB, "MiB:", r.TransferMS > 0, r.Ratio > 0)
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// 1 MiB: true true
	// 2 MiB: true true
	// <nil>
}
