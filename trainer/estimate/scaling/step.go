package scaling

// Reduction is how gradients are added up over all ranks.
type Reduction string

// The two reductions.
const (
	// Direct is dist.AllReduce of package trainer: parameter by parameter, every rank sends each other one its part, and gets the sums of
	// the others'.
	Direct Reduction = "direct"
	// Hierarchical adds up within hosts, then round a ring of hosts, in buckets. The project has none.
	Hierarchical Reduction = "hierarchical"
)

// Step is how long the sections of a step take, in seconds.
type Step struct {
	Attention, Rest   float64 // the ring's waiting is part of Attention
	Reduction, Update float64 // what is not hidden of them
	Ideal             float64 // arithmetic alone, in equal shares
}

// Seconds of the whole step.
func (s Step) Seconds() float64 { return s.Attention + s.Rest + s.Reduction + s.Update }

// Efficiency is the share of a step in which a rank does what the step is for.
func (s Step) Efficiency() float64 { return s.Ideal / s.Seconds() }

// Step puts a step together. Of a reduction all but the last layer's part has the backward pass to hide behind, which is two thirds of the step. zero says that the optimizer is dealt to the rings (zero_stage 1), which then give each other what they have updated.
func (r Run) Step(how Reduction, zero bool) Step {
	attention, ideal := r.Attention()
	layers := float64(r.Model.Layers)
	s := Step{Attention: layers * attention, Rest: r.Rest()}
	s.Ideal = layers*ideal + s.Rest
	s.Reduction = r.reduction(how)
	s.Reduction = max(s.Reduction-2*(s.Attention+s.Rest)/3*(layers-1)/layers, s.Reduction/layers)
	if zero {
		s.Update = r.gather()
	}
	return s
}

// Traffic is what the hosts send to add up the gradients of a step.
type Traffic struct {
	HostBytes float64 // that a host sends
	Messages  float64 // that a rank sends
	Smallest  float64 // bytes of the smallest message: of a norm's gradient, or of a bucket, a layer's
}

// Traffic of a reduction. Direct: R ranks of a host send each of the W-R elsewhere 1/W of all gradients, and get as much back.
func (r Run) Traffic(how Reduction) Traffic {
	ranks, onHost := float64(r.Ranks()), float64(min(r.Ranks(), r.Machine.Devices))
	hosts := float64(r.Hosts())
	bytes := floatSize * r.Model.Parameters
	if how == Hierarchical {
		rounds := 2 * (hosts + onHost - 2) // of a ring of hosts, and of one in each
		return Traffic{HostBytes: 2 * (hosts - 1) / hosts * bytes, Messages: rounds * float64(r.Model.Layers), Smallest: bytes / float64(r.Model.Layers) / ranks}
	}
	return Traffic{
		HostBytes: 2 * onHost * (ranks - onHost) / ranks * bytes,
		Messages:  2 * (ranks - 1) * float64(r.Model.Tensors),
		Smallest:  floatSize * float64(r.Model.Hidden) / ranks,
	}
}

func (r Run) reduction(how Reduction) float64 {
	t := r.Traffic(how)
	return t.HostBytes/(r.Machine.Outer*float64(r.Machine.Cards)) + t.Messages*r.Machine.Message
}

// gather is how long the rings take to give each other their shares of the updated parameters.
func (r Run) gather() float64 {
	data := float64(max(r.Data, 1))
	bytes := floatSize * r.Model.Parameters * (data - 1) / data
	return bytes/(r.Machine.Outer*float64(r.Machine.Cards)) + 2*float64(r.Model.Tensors)*(data-1)*r.Machine.Message
}

// HostMemory is what the trainer of this project keeps on a host, in bytes: weights and gradients once, the optimizer's two moments or the
// share of the host's rings, and for every rank the inputs of the layers with what attention saved of each.
func (r Run) HostMemory(zero bool) float64 {
	m, onHost := r.Model, float64(min(r.Ranks(), r.Machine.Devices))
	shares := 1.0
	if zero {
		shares = min(1, max(onHost/float64(r.Ring), 1)/float64(max(r.Data, 1)))
	}
	state := floatSize * m.Parameters * (2 + 2*shares)
	return state + onHost*floatSize*r.rows()*float64(m.Layers)*float64(m.Hidden+m.Queries)
}
