package estimate

import (
	"fmt"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// Traffic is one kind of a step's communication, as a dist.Ledger counts it.
type Traffic struct {
	Hops  int64 `json:"hops"`  // messages that one rank starts, the rank with most
	Bytes int64 `json:"bytes"` // sent by all ranks
}

// Wire is what travels between the ranks in one step, by ledger kind. Those of keys and values, and of sums of weight gradients, are
// always there. The mean loss, the gradient norm and the wish to stop, a few numbers in a step, are left out.
type Wire map[dist.Kind]Traffic

// Bytes of all kinds.
func (w Wire) Bytes() (sum int64) {
	for _, t := range w {
		sum += t.Bytes
	}
	return sum
}

// Choice is what ring_travel comes to.
type Choice struct {
	Travel  string `json:"travel"`   // what travels: kv or q, or "kv and q" where layers with other windows choose otherwise
	KVBytes int64  `json:"kv_bytes"` // what the rings would send in a step, were it keys and values that travel
	QBytes  int64  `json:"q_bytes"`  // and with queries
	Reason  string `json:"reason"`
}

// wireOf asks the op's plan what each rank sends in a layer: windows and documents keep blocks from ranks that see nothing of them.
// Gradients are summed over the ranks for each micro-batch: each element goes to the rank that adds it up from the W-1 others, and back
// to them.
func wireOf(m Model, r Run) (Wire, Choice) {
	micro, others := int64(r.Accumulation), int64(r.ranks())-1
	w := Wire{
		dist.ForwardKV: {}, dist.BackwardKV: {}, dist.BackwardDKV: {},
		dist.Collective: {Hops: micro * int64(m.Tensors), Bytes: micro * 2 * others * m.Parameters * floatSize},
	}
	rings := int64(r.Data)
	choice := Choice{Travel: string(ring.KV)}
	calls, err := m.calls(r)
	if err != nil { // no run will come of it
		return w, choice
	}
	travels := map[ring.Travel]bool{}
	for _, c := range calls {
		times := int64(c.layers) * micro
		w.add(c.Call, times, rings)
		travels[c.Plan().Travel()] = true
		choice.KVBytes += times * rings * bytesOf(c.Call, ring.KV)
		choice.QBytes += times * rings * bytesOf(c.Call, ring.Q)
	}
	choice.Travel = travelOf(travels)
	choice.Reason = m.reason(r, choice)
	return w, choice
}

func travelOf(travels map[ring.Travel]bool) string {
	switch {
	case travels[ring.KV] && travels[ring.Q]:
		return "kv and q"
	case travels[ring.Q]:
		return string(ring.Q)
	}
	return string(ring.KV)
}

// reason explains a choice.
func (m Model) reason(r Run, c Choice) string {
	if r.Ring/r.Ulysses == 1 {
		return "a ring of one rank sends nothing"
	}
	perKey, perQuery := 6*m.keys(), 5*(m.queries()+int64(m.Heads))
	if r.narrow() != "" { // once and back in half the bytes
		perKey = 4 * m.keys()
	}
	why := fmt.Sprintf("a step sends %.1f MiB with kv and %.1f MiB with q: a position travels as %d floats of keys, values and their gradients (KV heads: %d of %d), or as %d of queries, outputs and their gradients (heads: %d)",
		float64(c.KVBytes)/(1<<20), float64(c.QBytes)/(1<<20), perKey, m.KVHeads, m.HeadDim, perQuery, m.Heads)
	if r.Travel != ring.Auto {
		return fmt.Sprintf("ring_travel is %s; %s", r.Travel, why)
	}
	return "auto takes what sends less; " + why
}

// layersOf is the attention of the layers with one window.
type layersOf struct {
	ring.Call
	layers int
	window int // 0: none
}

// calls are the attentions of a model's layers over the ring.
func (m Model) calls(r Run) ([]layersOf, error) {
	if r.Ulysses < 1 || m.KVHeads%r.Ulysses != 0 || r.Ring%r.Ulysses != 0 {
		return nil, fmt.Errorf("estimate: Ulysses groups of %d", r.Ulysses)
	}
	var calls []layersOf
	var all []*mask.Mask // by layer
	for _, kind := range []struct{ window, layers int }{{0, m.Layers - m.WindowLayers}, {m.Window, m.WindowLayers}} {
		if kind.layers == 0 {
			continue
		}
		spec := mask.Spec{Causal: true, CuSeqlens: r.Documents}
		if kind.window > 0 {
			spec.Window = &mask.Window{Left: kind.window - 1, Right: mask.Unbounded}
		}
		seen, err := mask.New(spec, r.SequenceLen)
		if err != nil {
			return nil, err
		}
		for range kind.layers {
			all = append(all, seen)
		}
		calls = append(calls, layersOf{layers: kind.layers, window: kind.window, Call: ring.Call{
			Batch: r.MicroBatch, Heads: m.Heads, KVHeads: m.KVHeads, Dim: m.HeadDim, ValueDim: m.HeadDim, Mask: seen, DType: r.narrow(),
			Travel: r.Travel, Inner: r.Inner, Ulysses: r.Ulysses,
		}})
	}
	sharding, err := ring.Deal(r.Layout, r.SequenceLen, r.Ring, 0, all...)
	for i := range calls {
		calls[i].Sharding = sharding
		calls[i].Call = calls[i].Prepare()
	}
	return calls, err
}

// sharding is that of a run's sequences.
func (m Model) sharding(r Run) (shard.Sharding, error) {
	if r.Layout != shard.Balanced {
		return shard.New(r.Layout, r.SequenceLen, r.Ring)
	}
	calls, err := m.calls(r)
	if err != nil || len(calls) == 0 {
		return shard.New(r.Layout, r.SequenceLen, r.Ring)
	}
	return calls[0].Sharding, nil
}

// add enters what all ranks of a number of rings send in a number of calls.
func (w Wire) add(c ring.Call, times, rings int64) {
	most := map[dist.Kind]int{}
	for rank := range c.Sharding.Ranks() {
		sent := c.Plan().Sends(rank/c.Ulysses, floatSize)
		if c.Ulysses > 1 {
			sent[dist.Ulysses] = c.Exchange(rank, floatSize)
		}
		for kind, e := range sent {
			t := w[kind]
			t.Bytes += times * rings * e.Bytes
			w[kind] = t
			most[kind] = max(most[kind], e.Hops)
		}
	}
	for kind, hops := range most {
		t := w[kind]
		t.Hops += times * int64(hops)
		w[kind] = t
	}
}

// bytesOf is what the rings of a call send, if that is what travels.
func bytesOf(c ring.Call, travel ring.Travel) int64 {
	c.Travel = travel
	return c.Replan().Plan().Bytes(floatSize) * int64(c.Ulysses)
}
