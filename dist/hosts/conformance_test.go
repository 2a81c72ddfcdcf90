package hosts_test

import (
	"context"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/disttest"
	"github.com/ringgrad/ringgrad/dist/hosts"
	"github.com/ringgrad/ringgrad/dist/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// plain hides an engine's abilities: between processes nothing is lent, and nobody sees the others' waits.
type plain struct{ dist.Engine }

// worlds gives a function that makes n ranks over at most so many processes, which are goroutines here.
func worlds(processes int) func(testing.TB, int) []dist.Engine {
	return func(t testing.TB, n int) []dist.Engine {
		p := min(processes, n)
		joined := make([]*hosts.World, p)
		each(p, func(i int, wire dist.Engine) {
			w, err := hosts.Join(context.Background(), wire, n*(i+1)/p-n*i/p)
			if err != nil {
				t.Error(err)
			}
			joined[i] = w
		})
		t.Cleanup(func() {
			var all sync.WaitGroup
			for _, w := range joined {
				all.Go(func() { _ = w.Close() })
			}
			all.Wait()
		})
		var engines []dist.Engine
		for _, w := range joined {
			engines = append(engines, w.Engines()...)
		}
		return engines
	}
}

// each runs f for every process of a wire of p.
func each(p int, f func(i int, wire dist.Engine)) {
	var all sync.WaitGroup
	for i, e := range local.NewWorld(p) {
		all.Go(func() { f(i, plain{e}) })
	}
	all.Wait()
}

func TestConformanceOfRanksInOneProcessEach(t *testing.T) {
	disttest.Suite{Engines: worlds(8), Bubble: true}.Run(t)
}

func TestConformanceOfSeveralRanksInAProcess(t *testing.T) {
	disttest.Suite{Engines: worlds(2), Bubble: true}.Run(t)
	disttest.Suite{Engines: worlds(3), Bubble: true, Sizes: []int{4, 5, 7, 8}}.Run(t)
}

func TestConformanceInRealTime(t *testing.T) {
	disttest.Suite{Engines: worlds(3), Sizes: []int{1, 2, 3, 5, 8}}.Run(t)
}
