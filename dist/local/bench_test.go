package local_test

import (
	"context"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
)

// BenchmarkShift is one hop of 4 ranks; it does not depend on the size of the block.
func BenchmarkShift(b *testing.B) {
	const elements = 1 << 20
	benchmarkRanks(b, 4, func(ctx context.Context, c *dist.Comm, n int) error {
		block := make([]float32, elements)
		for hop := range n {
			var err error
			if block, err = dist.Shift(c, dist.Move{Kind: dist.ForwardKV, Hop: hop, Step: 1}, block, elements).Wait(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

// BenchmarkAllReduce sums 4 MiB over 4 ranks.
func BenchmarkAllReduce(b *testing.B) {
	const elements = 1 << 20
	b.SetBytes(4 * elements)
	benchmarkRanks(b, 4, func(ctx context.Context, c *dist.Comm, n int) error {
		x := make([]float32, elements)
		for range n {
			if err := dist.AllReduce(ctx, c, x); err != nil {
				return err
			}
		}
		return nil
	})
}

func benchmarkRanks(b *testing.B, n int, rank func(ctx context.Context, c *dist.Comm, times int) error) {
	b.ReportAllocs()
	err := local.Run(b.Context(), n, dist.Options{}, func(ctx context.Context, c *dist.Comm) error { return rank(ctx, c, b.N) })
	if err != nil {
		b.Fatal(err)
	}
}
