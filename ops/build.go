package ops

import (
	"errors"
	"sync"
)

// BuildMutex serialises the building of graphs. gorgonia memoises hashes on package-wide constants while nodes are added, so two
// goroutines must not build at once, not even different graphs. Hold it over everything from NewGraph to NewTapeMachine,
// Grad and CompileFunction included; running needs no lock.
var BuildMutex sync.Mutex

// Build runs f with BuildMutex held.
func Build(f func() error) error {
	BuildMutex.Lock()
	defer BuildMutex.Unlock()
	return f()
}

// Cause is the error inside what a machine's RunAll returned. gorgonia's own wrapper hides it from errors.Is and errors.As:
//
//	if errors.Is(ops.Cause(machine.RunAll()), ops.ErrToken) { ... }
func Cause(err error) error {
	type wrapper interface {
		error
		Err() error
	}
	if machine, ok := errors.AsType[wrapper](err); ok {
		return machine.Err()
	}
	return err
}
