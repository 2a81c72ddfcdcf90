package bench

import (
	"testing"

	"github.com/ringgrad/ringgrad/dist/shard"
)

// What a measurement gives is tested on the command: a process has one peak.
func TestAProcessMeasuresTheMemoryOfOneRing(t *testing.T) {
	a := Attention{Seq: 64, HeadDim: 8, Heads: 1, KVHeads: 1, Causal: true, DType: "float32", Rings: []int{1, 2}, Layout: shard.Zigzag}
	if _, err := a.MeasureMemory(t.Context()); err == nil {
		t.Error("two ring sizes in one process are measured")
	}
}
