package local_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/disttest"
	"github.com/ringgrad/ringgrad/dist/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func world(_ testing.TB, n int) []dist.Engine { return local.NewWorld(n) }

// wrapped is a world with something round every engine.
func wrapped(wrap func(dist.Engine) dist.Engine) func(testing.TB, int) []dist.Engine {
	return func(t testing.TB, n int) []dist.Engine {
		engines := world(t, n)
		for i, e := range engines {
			engines[i] = wrap(e)
		}
		return engines
	}
}

func TestConformanceInABubble(t *testing.T) {
	disttest.Suite{Engines: world, Bubble: true}.Run(t)
}

// Outside a bubble ranks run on all cores at once, which the race detector wants.
func TestConformanceInRealTime(t *testing.T) {
	disttest.Run(t, world)
}

// plain hides all abilities: engines over processes look like this.
type plain struct{ dist.Engine }

func TestConformanceOfAnEngineThatOnlyCopies(t *testing.T) {
	disttest.Suite{Engines: wrapped(func(e dist.Engine) dist.Engine { return plain{e} }), Bubble: true, Sizes: []int{1, 2, 3, 5, 8}}.Run(t)
}

func TestConformanceOfWrappersWithoutFaults(t *testing.T) {
	wrap := func(e dist.Engine) dist.Engine { return disttest.Checked(disttest.Faulty(e, disttest.Faults{})) }
	disttest.Suite{Engines: wrapped(wrap), Bubble: true, Sizes: []int{1, 2, 4}}.Run(t)
	wrap = func(e dist.Engine) dist.Engine { return disttest.Faulty(e, disttest.Faults{}) }
	disttest.Suite{Engines: wrapped(wrap), Bubble: true, Sizes: []int{3}}.Run(t)
}
