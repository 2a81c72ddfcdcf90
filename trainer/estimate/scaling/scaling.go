// Package scaling simulates training steps on up to thousands of ranks: what a ring, a double ring and Ulysses cost on hosts of several
// devices, with the rest of a layer and the sums of gradients, and what of it breaks first. Package estimate predicts one run on a few hosts
// message by message; this package steps from hop to hop with one clock a rank, so that 1,024 ranks take milliseconds.
//
//	go run ./trainer/estimate/scaling/table
//
// prints the tables of docs/scaling.md.
//
// A rank has two buffers: it works on one block while the next arrives in the other, and what it has worked on goes on from there. A hop
// begins when the sender has the block and is done with its last hop, and the receiver is done with the block before; so a slow link, such
// as that between two hosts in a ring over many, delays those behind it and no more. The other sections of a step, in which all ranks do the same, are formulas.
package scaling

// Layout is how a sequence is dealt to the ranks of a ring, and how blocks travel.
type Layout string

// The layouts.
const (
	Contiguous Layout = "contiguous"         // a single ring of contiguous shards: under a causal mask the last rank sees all blocks, the first one
	Zigzag     Layout = "zigzag"             // a single ring of balanced shards
	Double     Layout = "double ring"        // inner rings of the devices of a host, an outer ring of hosts; balanced
	Ulysses    Layout = "Ulysses and a ring" // the devices of a host exchange rows for heads, hosts make the rings; balanced
)

// Layouts lists all values of Layout.
func Layouts() []Layout { return []Layout{Contiguous, Zigzag, Double, Ulysses} }

// Machine is a cluster of equal hosts. A rank is a device.
type Machine struct {
	Name    string
	Devices int // of a host

	Forward, Backward, Products float64 // operations a second of a device: attention forward and backward, matrix products

	Inner   float64 // bytes a second, in each direction, from a device to others of its host
	Outer   float64 // of one network card
	Cards   int     // of a host; its devices share them
	Message float64 // seconds of a message
	Launch  float64 // seconds of a kernel, whatever it does

	Element float64 // bytes of an element of keys and values on the way; gradients are in float32
}

// card is the rate of a device to other hosts when all devices of its host send.
func (m Machine) card() float64 { return m.Outer * float64(m.Cards) / float64(m.Devices) }

// Model is a transformer, as far as it costs something. Widths are in elements of a token.
type Model struct {
	Name         string
	Layers       int
	Hidden       int
	Queries      int // heads times head dim
	Keys         int // KV heads times head dim
	KVHeads      int
	Intermediate int
	Vocab        int
	Parameters   float64
	Tensors      int // that the parameters are in
}

// Floats have four bytes: weights, gradients, the optimizer's state.
const floatSize = 4

// Run is a model on a machine: Data rings of Ring ranks, each with one sequence of Tokens.
type Run struct {
	Machine Machine
	Model   Model
	Tokens  float64
	Ring    int
	Data    int
	Layout  Layout
}

// Ranks of all rings.
func (r Run) Ranks() int { return r.Ring * max(r.Data, 1) }

// Hosts that they are on.
func (r Run) Hosts() int { return (r.Ranks() + r.Machine.Devices - 1) / r.Machine.Devices }

// rows is how many tokens of a sequence a rank has: c of the formulas.
func (r Run) rows() float64 { return r.Tokens / float64(r.Ring) }

// pass is one direction of attention.
type pass struct {
	pair  float64 // operations for each pair of a query and a key, and each element of a query
	rate  float64 // operations a second
	bytes float64 // that a token's block takes on the way
}

// passes are forward, where K and V travel, and backward, where their gradients in float32 travel with them.
func (r Run) passes() []pass {
	kv := 2 * float64(r.Model.Keys)
	return []pass{
		{pair: 4, rate: r.Machine.Forward, bytes: kv * r.Machine.Element},
		{pair: 10, rate: r.Machine.Backward, bytes: kv * (r.Machine.Element + floatSize)},
	}
}

// block is how long a device works on all pairs of two ranks' tokens, with so many parts of the heads.
func (r Run) block(p pass, rows, parts float64) float64 {
	return p.pair * rows * rows * float64(r.Model.Queries) / parts / p.rate
}

// Attention is how long the forward and the backward pass of one layer's attention take, and how long they would if only arithmetic took time
// and all ranks had the same share of it.
func (r Run) Attention() (seconds, ideal float64) {
	for _, p := range r.passes() {
		ideal += r.block(p, r.rows(), 1) / 2 * float64(r.Ring)
		switch {
		case r.Layout == Ulysses && r.Ring > 1:
			seconds += r.ulysses(p)
		case r.Layout == Double && r.Ring > r.Machine.Devices:
			seconds += r.double(p)
		default:
			seconds += r.single(p)
		}
	}
	return seconds, ideal
}

// Rest is how long all else of the layers and the head takes: matrix products forward, once again, and twice that backward.
func (r Run) Rest() float64 {
	m := r.Model
	layer := float64(m.Hidden) * float64(2*m.Queries+2*m.Keys+3*m.Intermediate)
	head := float64(m.Hidden) * float64(m.Vocab)
	return r.rows() * (8*layer*float64(m.Layers) + 6*head) / r.Machine.Products
}
