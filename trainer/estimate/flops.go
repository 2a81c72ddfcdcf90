package estimate

// Flops are the floating-point operations of one step on all ranks, a multiplication and an addition counted as two. Norms,
// rotations, the optimizer and the like are left out: they wait for memory, not for arithmetic.
type Flops struct {
	Forward   float64 `json:"forward"`   // matrix products of the layers
	Recompute float64 `json:"recompute"` // the same again in the backward pass: activations are not kept
	Backward  float64 `json:"backward"`
	Head      float64 `json:"head"` // logits with their two gradients

	AttentionForward  float64 `json:"attention_forward"` // once: the backward pass has its output
	AttentionBackward float64 `json:"attention_backward"`

	Total float64 `json:"total"`
}

// flopsOf counts 2·in·out for each token and matrix, and 4·D for each head, query and visible key, which are half of all pairs or those
// of the window.
// The backward of a product is two products; that of attention recomputes the scores and takes 2.5 times its forward.
func flopsOf(m Model, r Run) Flops {
	tokens := float64(r.tokens()) * float64(r.micro())
	hidden, queries, keys := float64(m.Hidden), float64(m.queries()), float64(m.keys())
	layer := hidden * (2*queries + 2*keys + 3*float64(m.Intermediate))
	products := 2 * tokens * float64(m.Layers) * layer
	f := Flops{
		Forward:          products,
		Recompute:        products,
		Backward:         2 * products,
		Head:             6 * tokens * hidden * float64(m.Vocab),
		AttentionForward: 4 * m.pairs(r) * float64(r.MicroBatch) * float64(r.micro()) * queries,
	}
	f.AttentionBackward = 2.5 * f.AttentionForward
	f.Total = f.products() + f.attention()
	return f
}

// pairs are those of queries and visible keys in a sequence, of all its documents, added up over the layers.
func (m Model) pairs(r Run) (sum float64) {
	if r.Documents == nil {
		return float64(r.SequenceLen) * m.visible(float64(r.SequenceLen))
	}
	for d := 1; d < len(r.Documents); d++ {
		if n := float64(r.Documents[d] - r.Documents[d-1]); n > 0 {
			sum += n * m.visible(n)
		}
	}
	return sum
}

// visible is how many keys a query sees on average, added up over the layers: half of all, or a window that is short at the start.
func (m Model) visible(length float64) float64 {
	window := min(float64(m.Window), length)
	return float64(m.Layers-m.WindowLayers)*length/2 + float64(m.WindowLayers)*window*(1-window/(2*length))
}

func (f Flops) products() float64  { return f.Forward + f.Recompute + f.Backward + f.Head }
func (f Flops) attention() float64 { return f.AttentionForward + f.AttentionBackward }

// Speed is what a machine computes with all its cores, in 10^9 operations a second.
type Speed struct {
	Products  float64 `json:"matmul_gflops"`
	Attention float64 `json:"attention_gflops"`
}

// seconds is 0 where a speed is not positive: nothing is known then.
func (f Flops) seconds(s Speed) float64 {
	if s.Products <= 0 || s.Attention <= 0 {
		return 0
	}
	return (f.products()/s.Products + f.attention()/s.Attention) / 1e9
}
