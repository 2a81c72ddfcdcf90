package estimate_test

import (
	"math"
	"testing"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/trainer/estimate"
	"github.com/ringgrad/ringgrad/trainer/estimate/scaling"
)

// TestMessagesAndHopsAgree: what package scaling steps through hop by hop, with keys, values and gradients as one message, takes as long as what this
// package runs message by message, from links that are all there is to wait for to none; there the hops of the keys, one less than of gradients, are a part of a ring.
func TestMessagesAndHopsAgree(t *testing.T) {
	m := estimate.Model{Layers: 1, Heads: 8, KVHeads: 2, HeadDim: 64}
	for _, ranks := range []int{4, 8, 16} {
		for _, link := range []float64{1e7, 1e8, 3e8, 1e9, 1e10} {
			on := estimate.Cluster{Hosts: ranks, Link: link, Latency: 20e-6, Speed: estimate.Speed{Products: 100, Attention: 100}}
			_, f, err := estimate.Spread(m, estimate.Run{SequenceLen: 1 << 14, Ring: ranks, Layout: shard.Zigzag}, on)
			if err != nil {
				t.Fatal(err)
			}
			hops := scaling.Run{
				Machine: scaling.Machine{Devices: 1, Cards: 1, Forward: 100e9, Backward: 100e9, Inner: link, Outer: link, Message: 20e-6, Element: 4},
				Model:   scaling.Model{Queries: 512, Keys: 128, KVHeads: 2}, Tokens: 1 << 14, Ring: ranks, Layout: scaling.Zigzag,
			}
			want, _ := hops.Attention()
			if ratio := f.Seconds / want; math.Abs(ratio-1) > 1/(2*float64(ranks)) {
				t.Errorf("%d hosts on %v bytes/s: %v s by messages, %v by hops", ranks, link, f.Seconds, want)
			}
		}
	}
}
