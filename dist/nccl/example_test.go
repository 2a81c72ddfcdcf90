package nccl_test

import (
	"context"
	"fmt"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/nccl"
)

// Every process has one rank and one GPU of its host. Here the CPU engine is one of a single rank; mpi.Process.World gives a real one.
func ExampleOpen() {
	ctx := context.Background()
	cpu := local.NewWorld(1)[0]
	e, err := nccl.Open(ctx, cpu, nccl.Options{Device: 0})
	if err != nil {
		fmt.Println(err) // no tag ringcuda, no NCCL, no GPU: all ranks get the same
		return
	}
	defer e.Close() //nolint:errcheck // an example
	sum := []float32{1}
	if err := dist.AllReduce(ctx, dist.New(e, dist.Options{}), sum); err != nil {
		fmt.Println(err)
	}
}
