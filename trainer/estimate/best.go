package estimate

import (
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// Best is the fastest of the ways to lay out a run over the same ranks that leave the step what it is: as many sequences of as many tokens.
type Best struct {
	Layout       shard.Layout `json:"ring_attn_func"`
	Travel       ring.Travel  `json:"ring_travel"`
	Ulysses      int          `json:"ulysses_size"`
	Inner        int          `json:"ring_inner_size"`
	Data         int          `json:"data_parallel_size"`
	Ring         int          `json:"context_parallel_size"`
	Accumulation int          `json:"gradient_accumulation_steps"`
	Seconds      float64      `json:"seconds_per_step"`
	Tried        int          `json:"tried"` // layouts that were compared
}

// worthwhile is the share of a step that a layout must save to be named instead of the run's own.
const worthwhile = 0.002

// best tries the candidates; the run's own takes the given time.
func (p predictor) best(r Run, seconds float64) Best {
	named := func(r Run, seconds float64) Best {
		return Best{Layout: r.Layout, Travel: r.Travel, Ulysses: r.Ulysses, Inner: r.Inner, Data: r.Data, Ring: r.Ring,
			Accumulation: r.Accumulation, Seconds: seconds}
	}
	best, tried := named(r, seconds), 1
	best.Travel = p.travelOf(r)
	limit := r.MemoryLimit
	if limit > 0 { // a run that does not hold it may be replaced by one that takes as much
		limit = max(limit, memoryOf(p.model, r.folded()).Process)
	}
	for _, candidate := range p.candidates(r) {
		f, err := p.forecast(candidate)
		if err != nil {
			continue
		}
		tried++
		if f.Seconds < best.Seconds-worthwhile*seconds && p.fits(candidate, limit) {
			best = named(candidate, f.Seconds)
		}
	}
	best.Tried = tried
	return best
}

// travelOf is what a run's ring_travel comes to.
func (p predictor) travelOf(r Run) ring.Travel {
	if r.Travel != ring.Auto {
		return r.Travel
	}
	_, choice := wireOf(p.model, r.folded())
	if travel := ring.Travel(choice.Travel); travel == ring.KV || travel == ring.Q {
		return travel
	}
	return ring.Auto
}

func (p predictor) fits(r Run, limit int64) bool {
	return limit == 0 || memoryOf(p.model, r.folded()).Process <= limit
}

// candidates are the legal ways for the same ranks and the same step.
func (p predictor) candidates(r Run) (all []Run) {
	sequences := r.Data * r.Accumulation
	for _, data := range divisorsOf(r.ranks()) {
		if sequences%data != 0 || r.ranks()/data > r.SequenceLen {
			continue
		}
		mesh := r
		mesh.Data, mesh.Ring, mesh.Accumulation = data, r.ranks()/data, sequences/data
		for _, group := range divisorsOf(mesh.Ring) {
			if p.model.Heads%group == 0 && p.model.KVHeads%group == 0 {
				mesh.Ulysses = group
				all = append(all, p.rings(mesh)...)
			}
		}
	}
	return all
}

// manyRanks is where a comparison of all layouts would take minutes: it takes the square of the ranks. Beyond, only balanced ones are compared.
const manyRanks = 256

// rings are the ways round the rings of a mesh: layouts, what travels, and inner rings of the ranks of a host.
func (p predictor) rings(mesh Run) (all []Run) {
	layouts, travels := []shard.Layout{shard.Contiguous, shard.Zigzag, shard.Striped}, []ring.Travel{ring.KV, ring.Q}
	if mesh.ranks() > manyRanks {
		layouts, travels = []shard.Layout{shard.Zigzag}, []ring.Travel{mesh.Travel}
	}
	if mesh.Packed || mesh.Documents != nil || p.model.WindowLayers > 0 {
		layouts = append(layouts, shard.Balanced)
	}
	mesh.Inner = 0
	inners := []int{1}
	if inner := mesh.inner(mesh.ranks() / p.cluster.Hosts); inner > 1 {
		inners = append(inners, inner)
	}
	if mesh.Ring/mesh.Ulysses == 1 { // nothing travels
		mesh.Inner, mesh.Travel, mesh.Layout = 1, ring.KV, shard.Contiguous
		return []Run{mesh}
	}
	for _, mesh.Layout = range layouts {
		for _, mesh.Travel = range travels {
			for _, mesh.Inner = range inners {
				all = append(all, mesh)
			}
		}
	}
	return all
}
