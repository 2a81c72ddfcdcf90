package estimate

// Traffic is one kind of a step's communication, as a dist.Ledger counts it.
type Traffic struct {
	Hops  int64 `json:"hops"`  // transfers that one rank starts
	Bytes int64 `json:"bytes"` // sent by all ranks
}

// Wire is what travels between the ranks in one step, by ledger kind. The mean loss, the gradient norm and the wish to stop, a
// few numbers in a step, are left out.
type Wire struct {
	ForwardKV   Traffic `json:"forward_kv"`   // K and V
	BackwardKV  Traffic `json:"backward_kv"`  // K and V again, the other way round
	BackwardDKV Traffic `json:"backward_dkv"` // dK and dV until they are home
	Collective  Traffic `json:"collective"`   // sums of weight gradients
}

// Bytes of all kinds.
func (w Wire) Bytes() int64 {
	return w.ForwardKV.Bytes + w.BackwardKV.Bytes + w.BackwardDKV.Bytes + w.Collective.Bytes
}

// wireOf counts the W-1 hops of each pass through a layer. In one hop every block moves by one rank, so the ranks together send the
// keys and values of the whole sequence, however unevenly it is sharded. Gradients are summed over the ranks for each micro-batch:
// each element goes to the rank that adds it up from the W-1 others, and back to them.
func wireOf(m Model, r Run) Wire {
	passes, others := int64(m.Layers)*int64(r.Accumulation), int64(r.Ring)-1
	ring := Traffic{Hops: passes * others, Bytes: passes * others * r.tokens() * 2 * m.keys() * floatSize}
	kv := ring
	if r.bfloat16() {
		kv.Bytes /= 2
	}
	micro := int64(r.Accumulation)
	return Wire{
		ForwardKV:   kv,
		BackwardKV:  kv,
		BackwardDKV: ring,
		Collective:  Traffic{Hops: micro * int64(m.Tensors), Bytes: micro * 2 * others * m.Parameters * floatSize},
	}
}
