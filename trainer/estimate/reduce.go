package estimate

import (
	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// reduced is what a host sends over its link to add up the gradients of one micro-batch, on average: dist.AllReduce has each of the W ranks
// send each other one 1/W of it and get as much back, and the W-R ranks of other hosts are behind the link.
func (s section) reduced() int64 {
	ranks := int64(s.run.ranks())
	return 2 * int64(s.perHost) * (ranks - int64(s.perHost)) * s.model.Parameters * floatSize / ranks
}

// reduction is how long that takes. Parameters come one after the other, each in two rounds, in which a host sends a message for every
// pair of a rank of its own and one of another host.
func (s section) reduction(c Cluster) float64 {
	if c.Hosts == 1 {
		return 0
	}
	pairs := float64(s.perHost) * float64(s.run.ranks()-s.perHost)
	rounds := 2 * float64(s.model.Tensors)
	return rounds*(c.trip()+pairs*c.Message) + float64(s.reduced())*c.byteSeconds()
}

// sums is how much longer a step takes for sums of gradients, whose backward passes take so long. They go on beside these while the link has nothing
// else to send, and cost the cores' time for what they copy.
func (s section) sums(c Cluster, back float64) float64 {
	times, layers := float64(s.run.Accumulation), float64(s.model.Layers)
	all := times * s.reduction(c)
	if all == 0 {
		return 0
	}
	late := 1 / layers // the share that comes when the passes are at their end
	if embedding := float64(s.model.Vocab*s.model.Hidden) / float64(s.model.Parameters); embedding < 1 {
		late = embedding + (1-embedding)/layers
	}
	free := max(back-float64(s.backwardBytes())*c.byteSeconds(), 0)
	hidden := min((1-late)*all, free)
	return all - hidden + 2*times*hidden/all*float64(s.reduced())*c.copySeconds()
}

// backwardBytes is what the busiest host sends round the ring on the way back of a step.
func (s section) backwardBytes() (sum int64) {
	for kind, n := range s.linkBytes() {
		switch kind {
		case dist.BackwardKV, dist.BackwardDKV, dist.BackwardQ, dist.BackwardDQ,
			dist.BackwardKVOuter, dist.BackwardDKVOuter, dist.BackwardQOuter, dist.BackwardDQOuter:
			sum += n
		}
	}
	return sum
}

// gathered is what a host receives of updated parameters with zero_stage 1: the shares of those that keep other ones. It sends as much on average.
func (s section) gathered() int64 {
	if s.run.ZeroStage == 0 {
		return 0
	}
	return s.model.Parameters * floatSize * int64(s.run.Data-s.run.shards(0, s.perHost)) / int64(s.run.Data)
}

// gather is how long that takes: for every parameter its shares' lengths, then the shares, among the leaders of the hosts that keep different ones.
func (s section) gather(c Cluster) float64 {
	bytes := s.gathered()
	if bytes == 0 {
		return 0
	}
	others := float64(s.run.Data/s.run.shards(0, s.perHost) - 1)
	return 2*float64(s.model.Tensors)*(c.trip()+others*c.Message) + float64(bytes)*c.byteSeconds()
}

// swaps is how long the exchanges of rows for heads of one layer take, forward and backward, for which a rank waits one by one.
func (s section) swaps(call ring.Call, c Cluster) (sum float64) {
	for _, swap := range call.Swaps() {
		out, messages := map[int]int64{}, map[int]float64{}
		swap.Messages(floatSize, func(m ring.Message) {
			for d := range s.run.Data {
				from, to := (d*s.run.Ring+m.From)/s.perHost, (d*s.run.Ring+m.To)/s.perHost
				if from != to {
					out[from] += m.Bytes
					messages[from]++
				}
			}
		})
		longest := 0.0
		for host, n := range out {
			longest = max(longest, c.trip()+messages[host]*c.Message+float64(n)*c.byteSeconds())
		}
		sum += longest
	}
	return sum
}
