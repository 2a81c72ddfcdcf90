package local_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
)

// One rank fails; the others are freed, and the caller sees why.
func ExampleRun() {
	err := local.Run(context.Background(), 4, dist.Options{}, func(ctx context.Context, c *dist.Comm) error {
		if c.Rank() == 2 {
			return errors.New("loss is NaN at step 7")
		}
		return dist.Barrier(ctx, c)
	})
	fmt.Println(err)
	// Output: rank 2: loss is NaN at step 7
}
