// Package disttest checks engines of package dist, and breaks them on purpose.
//
// Run is the conformance suite that every engine passes:
//
//	func TestEngine(t *testing.T) {
//		disttest.Run(t, func(t testing.TB, n int) []dist.Engine { return local.NewWorld(n) })
//	}
//
// A rank knows all that it must see from its number and the size of the world, so the ranks may be processes: the factory then
// gives the one engine of this process, and nil for the sizes that this launch is not. Suite has knobs for engines that can
// not do everything in a test, and for those whose ranks fit a bubble of testing/synctest.
//
// Faulty is an engine that loses, delays or changes messages, dies or aborts, at an operation that is told by its number;
// Checked is one that finds changed messages. Both are put round an engine, by dist.Options.Wrap for example.
package disttest
