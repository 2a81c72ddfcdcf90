package estimate

import (
	"maps"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
	"github.com/ringgrad/ringgrad/trainer/config"
	"github.com/ringgrad/ringgrad/trainer/hf"
)

// Forecast is what a step takes on a cluster.
//
// A step is a sequence of sections, in each of which all ranks take about as long: matrix products, then a tour of the ring, whose hops
// are hidden behind the blocks as ring.Rank orders them, and the next layer. Sums of gradients come parameter by parameter on the way
// back, beside the rest of the way: those of the first layer, and of the embedding, have nothing left to hide behind.
type Forecast struct {
	Cluster
	RanksPerHost int                 `json:"ranks_per_host"`
	HostMemory   int64               `json:"host_memory_bytes"`   // of the host with most
	LinkBytes    map[dist.Kind]int64 `json:"link_bytes_per_step"` // that a host sends over its link, the host with most
	Exposed      float64             `json:"exposed_seconds"`     // how much longer a step takes than on a network that takes no time
	Hidden       float64             `json:"hidden_seconds"`      // how long messages travel besides
	Seconds      float64             `json:"-"`                   // of a step
	Best         Best                `json:"best"`
}

// Parameters is what zero_stage sends: a ring's share of the weights, after its update.
const Parameters dist.Kind = "parameters"

// Bytes that a host sends in a step.
func (f Forecast) Bytes() (sum int64) {
	for _, n := range f.LinkBytes {
		sum += n
	}
	return sum
}

// Spread predicts a step of r's training of m on a cluster, and searches for the best way to lay out the same ranks. What a run
// leaves to its processes is completed as package trainer does: one rank becomes a ring with one on each host, and a Run.Inner of 0 the ranks of
// a ring that a host has, where a ring spans several hosts. The Estimate's memory is that of a host.
func Spread(m Model, r Run, c Cluster) (Estimate, Forecast, error) {
	if err := c.Validate(); err != nil {
		return Estimate{}, Forecast{}, err
	}
	inner := r.Inner
	r.Processes = c.Hosts
	r.ensureDefaults()
	if r.ranks() == 1 {
		r.Ring = c.Hosts
	}
	perHost, err := c.perHost(r)
	if err != nil {
		return Estimate{}, Forecast{}, err
	}
	r.Inner = inner
	r.Inner = r.inner(perHost)
	p := predictor{model: m, cluster: c, pairs: map[pairsKey][][]float64{}}
	f, err := p.forecast(r)
	if err != nil {
		return Estimate{}, Forecast{}, err
	}
	e := Compute(m, r)
	f.HostMemory = e.Memory.Process
	f.Best = p.best(r, f.Seconds)
	return e, f, nil
}

// ForHosts is Spread for the run that c describes, with the model m.
func ForHosts(m hf.Config, c config.Config, on Cluster) (Estimate, Forecast, error) {
	r := RunOf(c)
	r.Inner, r.MemoryLimit = c.RingInnerSize, int64(c.MemoryLimit)
	return Spread(ModelOf(m), r, on)
}

// inner is the size of the inner rings of a run.
func (r Run) inner(perHost int) int {
	group := max(r.Ulysses, 1)
	if size := perHost / group; r.Inner == 0 && perHost < r.Ring && perHost%group == 0 && (r.Ring/group)%max(size, 1) == 0 {
		return max(size, 1)
	}
	return max(r.Inner, 1)
}

// predictor forecasts runs of a model on a cluster.
type predictor struct {
	model   Model
	cluster Cluster
	pairs   map[pairsKey][][]float64
}

// forecast is a Forecast less Memory and Best.
func (p predictor) forecast(r Run) (Forecast, error) {
	perHost, err := p.cluster.perHost(r)
	if err != nil {
		return Forecast{}, err
	}
	folded := r.folded()
	calls, err := p.model.calls(folded)
	if err != nil {
		return Forecast{}, err
	}
	s := section{predictor: p, run: folded, perHost: perHost, calls: calls}
	f := Forecast{Cluster: p.cluster, RanksPerHost: perHost, LinkBytes: s.linkBytes()}
	f.Seconds = s.seconds(p.cluster)
	f.Exposed = max(f.Seconds-s.seconds(p.cluster.free()), 0)
	f.Hidden = max(float64(f.Bytes())*p.cluster.byteSeconds()-f.Exposed, 0)
	return f, nil
}

// section is a run laid out on hosts.
type section struct {
	predictor
	run     Run
	perHost int
	calls   []layersOf
}

// updateCost is how many operations of a matrix product take as long as AdamW's update of a parameter, which waits for memory; docs/performance.md has
// it at 0.6 % of a step of 35,600 operations a parameter.
const updateCost = 200

// seconds is how long a step takes on a network.
func (s section) seconds(c Cluster) float64 {
	flops := flopsOf(s.model, s.run)
	hosts, products := float64(c.Hosts), c.Speed.Products*1e9
	total, back := flops.products()/hosts/products, (flops.Recompute+flops.Backward)/hosts/products
	for _, call := range s.calls {
		forward, backward := s.tours(call, c)
		times := float64(call.layers) * float64(s.run.Accumulation)
		total += times * (forward + backward + s.swaps(call.Call, c))
		back += times * backward
	}
	total += s.sums(c, back)
	share := float64(s.run.shards(0, s.perHost)) / float64(s.run.Data)
	total += updateCost * share * float64(s.model.Parameters) / products
	return total + s.gather(c)
}

// linkBytes adds up what the busiest host sends in a step, by kind.
func (s section) linkBytes() map[dist.Kind]int64 {
	hosts := make([]map[dist.Kind]int64, s.cluster.Hosts)
	for h := range hosts {
		hosts[h] = map[dist.Kind]int64{}
	}
	times := int64(s.run.Accumulation)
	for _, call := range s.calls {
		call.Messages(floatSize, func(m ring.Message) {
			for d := range s.run.Data {
				from, to := (d*s.run.Ring+m.From)/s.perHost, (d*s.run.Ring+m.To)/s.perHost
				if from != to {
					hosts[from][m.Kind] += times * int64(call.layers) * m.Bytes
				}
			}
		})
	}
	busiest, most := hosts[0], int64(-1)
	for _, sent := range hosts {
		sum := int64(0)
		for _, n := range sent {
			sum += n
		}
		if sum > most {
			busiest, most = sent, sum
		}
	}
	busiest = maps.Clone(busiest)
	if c := s.cluster.Hosts; c > 1 {
		busiest[dist.Collective] = times * s.reduced()
		if n := s.gathered(); n > 0 {
			busiest[Parameters] = n
		}
	}
	return busiest
}
