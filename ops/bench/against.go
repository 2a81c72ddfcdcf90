package bench

import (
	"fmt"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// What attention can be measured against.
const (
	AgainstCausal = "causal" // plain causal attention of the same shape, ring and layout (zigzag where that is balanced)
	AgainstKV     = "kv"     // the same with keys and values travelling in a single ring, without Ulysses
)

// Against asks for a second attention in the same rounds; the zero value for none.
type Against struct {
	What string // "", AgainstCausal or AgainstKV
	Seq  int    // positions of the causal one; 0: as many
}

// AgainstFigures are the ratio to the second attention, and what that has done: medians of the rounds.
type AgainstFigures struct {
	OverCausal float64 `json:"over_causal,omitempty"` // processor time ÷ what the visible pairs take at the causal one's rate
	OverKV     float64 `json:"over_kv,omitempty"`     // processor time ÷ that with keys and values travelling
	Against    Second  `json:"against"`
}

// Second is the attention that another is measured against.
type Second struct {
	Seq                 int          `json:"seq"`
	Layout              shard.Layout `json:"layout"`
	GFlopsPerCoreSecond float64      `json:"gflops_per_core_second"`
	WallMS              float64      `json:"wall_ms"`
	BusyMS              float64      `json:"busy_ms"`
}

func (g Against) validate() error {
	switch {
	case g.What != "" && g.What != AgainstCausal && g.What != AgainstKV:
		return fmt.Errorf("bench: against %q: give causal or kv", g.What)
	case g.Seq < 0:
		return fmt.Errorf("bench: against a sequence of %d positions: give at least 1", g.Seq)
	case g.Seq > 0 && g.What != AgainstCausal:
		return fmt.Errorf("bench: against a sequence of %d positions: its length concerns what is measured against causal attention", g.Seq)
	}
	return nil
}

// other is the second attention.
func (a Attention) other() Attention {
	b := a
	b.Against, b.Ulysses, b.Inner, b.Travel = Against{}, 0, 0, ring.KV
	if a.Against.What == AgainstKV {
		return b
	}
	b.Causal, b.Window, b.Documents = true, nil, nil
	b.Softcap, b.ALiBi, b.Sinks, b.Dropout = 0, false, false, 0
	if b.Layout == shard.Balanced {
		b.Layout = shard.Zigzag
	}
	if n := a.Against.Seq; n > 0 {
		b.Seq = n
	}
	return b
}

// compare takes the ratio of the rates round by round: the samples of a round are neighbours.
func (a Attention) compare(own, other measured) *AgainstFigures {
	ratios := make([]float64, len(own.rates))
	for i, rate := range own.rates {
		ratios[i] = other.rates[i] / rate
	}
	b := a.other()
	f := &AgainstFigures{Against: Second{b.Seq, b.Layout, other.GFlopsPerCoreSecond, other.WallMS, other.BusyMS}}
	if a.Against.What == AgainstKV {
		f.OverKV = median(ratios)
	} else {
		f.OverCausal = median(ratios)
	}
	return f
}
