package mpi_test

import (
	"errors"
	"fmt"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/mpi"
)

// One rank a process: run with mpirun --bind-to none -n 4 ./program.
func ExampleStart() {
	process, err := mpi.Start()
	if errors.Is(err, mpi.ErrNotBuilt) {
		fmt.Println(err)
		return
	}
	if err != nil {
		panic(err)
	}
	train := func(*dist.Comm) error { return nil }
	engine, err := process.World(process.Size())
	if err == nil {
		err = errors.Join(train(dist.New(engine, dist.Options{})), engine.Close())
	}
	if err == nil {
		err = process.Close()
	}
	if err != nil {
		fmt.Println(err)
		process.Abort(1)
	}
}

func ExampleLaunched() {
	if launch, ok := mpi.Launched(); ok {
		fmt.Printf("rank %d of %d, started by %s", launch.Rank, launch.Size, launch.By)
	}
}
