package disttest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/ringgrad/ringgrad/dist"
)

var groups = []testCase{
	onComm("split orders by key, then by rank", splitOrder),
	onComm("rows and columns of a mesh at the same time", mesh),
	onComm("groups split again, unevenly", nested),
}

// splitOrder reverses the ranks by key; then gives equal keys.
func splitOrder(ctx context.Context, c *dist.Comm) error {
	reversed, err := dist.Split(ctx, c, 0, -c.Rank())
	if err != nil {
		return err
	}
	if want := c.Size() - 1 - c.Rank(); reversed.Rank() != want || reversed.Size() != c.Size() {
		return fmt.Errorf("rank %d of %d, want %d of %d", reversed.Rank(), reversed.Size(), want, c.Size())
	}
	if err := errors.Join(allReduce(ctx, reversed), rotate(ctx, reversed)); err != nil {
		return err
	}
	odd, err := dist.Split(ctx, c, c.Rank()%2, 7)
	if err != nil {
		return err
	}
	if odd.Rank() != c.Rank()/2 {
		return fmt.Errorf("rank %d in the group of equal keys, want %d", odd.Rank(), c.Rank()/2)
	}
	return allReduce(ctx, odd)
}

// mesh uses overlapping groups from two goroutines of each rank.
func mesh(ctx context.Context, c *dist.Comm) error {
	const width = 2
	rows, err := dist.Split(ctx, c, c.Rank()/width, c.Rank())
	if err != nil {
		return err
	}
	columns, err := dist.Split(ctx, c, c.Rank()%width, c.Rank())
	if err != nil {
		return err
	}
	errs := make([]error, 2)
	var both sync.WaitGroup
	for i, group := range []*dist.Comm{rows, columns} {
		both.Go(func() { errs[i] = errors.Join(step(ctx, group), allGather(ctx, group)) })
	}
	both.Wait()
	return errors.Join(errs...)
}

// nested makes the members of one group split more often than those of another, before all split together.
func nested(ctx context.Context, c *dist.Comm) error {
	half, err := dist.Split(ctx, c, c.Rank()/2, c.Rank())
	if err != nil {
		return err
	}
	for range half.Size() + c.Rank()/2 {
		if half, err = dist.Split(ctx, half, 0, half.Rank()); err != nil {
			return err
		}
	}
	all, err := dist.Split(ctx, c, 0, c.Rank())
	if err != nil {
		return err
	}
	errs := make([]error, 3)
	var together sync.WaitGroup
	for i, group := range []*dist.Comm{half, all, c} {
		together.Go(func() { errs[i] = step(ctx, group) })
	}
	together.Wait()
	return errors.Join(errs...)
}
