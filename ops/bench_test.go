package ops_test

import "testing"

// The ops of one layer of the base model (128 wide, 384 in the feed-forward part, 256 tokens) over 4,096 rows, forward and
// backward.
func BenchmarkOps(b *testing.B) {
	const n = 4096
	for _, c := range []opCase{
		linearCase(n, 128, 384, false), linearCase(n, 128, 384, true), rmsnormCase(n, 128, 1), ropeCase(n, 2, 64),
		swigluCase(n, 384), addCase(n, 128), embeddingCase(n, 256, 128), crossEntropyCase(n, 128, 256),
	} {
		b.Run(c.name, func(b *testing.B) {
			g := compile[float32](b, c)
			g.run(b, c.randomInputs(1), c.randomDOut(1)) // allocates the op's buffers
			b.ReportAllocs()
			for b.Loop() {
				g.machine.Reset()
				if err := g.machine.RunAll(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
