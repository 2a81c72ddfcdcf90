package cpu

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// Parallel calls f(0) to f(n-1) on up to GOMAXPROCS goroutines, its own among them, and returns when all have ended. Calls are handed out in order, one
// at a time, so long ones should come first. A panic of f is raised again in the caller once the others have ended; no new call
// is started after one.
func Parallel(n int, f func(i int)) {
	workers := min(n, runtime.GOMAXPROCS(0))
	if workers <= 1 {
		for i := range n {
			f(i)
		}
		return
	}
	var next atomic.Int64
	var failure atomic.Pointer[string]
	var wg sync.WaitGroup
	work := func() {
		defer func() {
			if r := recover(); r != nil {
				text := fmt.Sprintf("%v\n%s", r, debug.Stack())
				failure.CompareAndSwap(nil, &text)
			}
		}()
		for failure.Load() == nil {
			i := int(next.Add(1)) - 1
			if i >= n {
				return
			}
			f(i)
		}
	}
	for range workers - 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	if text := failure.Load(); text != nil {
		panic(*text)
	}
}
