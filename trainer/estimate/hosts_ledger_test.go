package estimate_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/local"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
	"github.com/ringgrad/ringgrad/trainer/estimate"
	"github.com/ringgrad/ringgrad/trainer/hf"
	"github.com/ringgrad/ringgrad/trainer/model"
)

// counted adds up what a rank sends to other hosts, once counting has begun.
type counted struct {
	dist.Engine
	perHost int
	count   *atomic.Bool
	hosts   []atomic.Int64 // by the sender's
}

func (c counted) Isend(b []byte, to, tag int) dist.Handle {
	if from := c.Rank() / c.perHost; c.count.Load() && from != to/c.perHost {
		c.hosts[from].Add(int64(len(b)))
	}
	return c.Engine.Isend(b, to, tag)
}

// sentByHosts trains one step on a mesh of rings, as package trainer does, without the update, and returns what each host of perHost ranks sent to
// others; reduce says whether gradients are summed.
func sentByHosts(t *testing.T, c hf.Config, r estimate.Run, perHost int, reduce bool) []int64 {
	t.Helper()
	params := model.Init[float32](c, 1)
	var count atomic.Bool
	hosts := make([]atomic.Int64, r.Data*r.Ring/perHost)
	opts := dist.Options{Wrap: func(e dist.Engine) dist.Engine { return counted{e, perHost, &count, hosts} }}
	err := local.Run(context.Background(), r.Data*r.Ring, opts, func(ctx context.Context, world *dist.Comm) error {
		comm, err := dist.Split(ctx, world, world.Rank()/r.Ring, world.Rank())
		if err != nil {
			return err
		}
		m, err := model.New(c, params, comm, model.Options{Layout: r.Layout, Travel: r.Travel, UlyssesSize: r.Ulysses, InnerRing: r.Inner})
		if err != nil {
			return err
		}
		if err := dist.Barrier(ctx, world); err != nil {
			return err
		}
		count.Store(true)
		for range max(r.Accumulation, 1) {
			_, _, err := m.LossAndGrad(ctx, batchOf(c, max(r.MicroBatch, 1), r.SequenceLen), 0.1, func(_ string, grad []float32) error {
				if !reduce {
					return nil
				}
				return dist.AllReduce(ctx, world, grad)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sent := make([]int64, len(hosts))
	for h := range hosts {
		sent[h] = hosts[h].Load()
	}
	return sent
}

// TestLinksCarryWhatATrainedStepSendsBetweenHosts, rank by rank through an engine that looks at every message.
func TestLinksCarryWhatATrainedStepSendsBetweenHosts(t *testing.T) {
	for name, c := range map[string]struct {
		run   estimate.Run
		hosts int
	}{
		"a ring over hosts":               {estimate.Run{SequenceLen: 13, Data: 1, Ring: 4, MicroBatch: 2, Accumulation: 2, Layout: shard.Zigzag}, 4},
		"two ranks a host":                {estimate.Run{SequenceLen: 16, Data: 1, Ring: 4, Layout: shard.Contiguous}, 2},
		"rings over two hosts each":       {estimate.Run{SequenceLen: 16, Data: 2, Ring: 4, Layout: shard.Zigzag}, 4},
		"rings within hosts":              {estimate.Run{SequenceLen: 9, Data: 4, Ring: 2, Layout: shard.Striped}, 2},
		"rings across the edges of hosts": {estimate.Run{SequenceLen: 12, Data: 3, Ring: 2, Layout: shard.Zigzag}, 2},
		"Ulysses within hosts":            {estimate.Run{SequenceLen: 17, Data: 1, Ring: 4, Ulysses: 2, Layout: shard.Zigzag}, 2},
		"Ulysses across hosts":            {estimate.Run{SequenceLen: 17, Data: 1, Ring: 4, Ulysses: 2, Layout: shard.Zigzag}, 4},
		"queries travel a double ring":    {estimate.Run{SequenceLen: 24, Data: 1, Ring: 6, Inner: 3, Travel: ring.Q, Layout: shard.Zigzag}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := configOf(t, nil)
			perHost := c.run.Data * c.run.Ring / c.hosts
			if c.run.Inner == 0 {
				c.run.Inner = 1
			}
			_, f, err := estimate.Spread(estimate.ModelOf(cfg), c.run, cluster(c.hosts))
			if err != nil {
				t.Fatal(err)
			}
			without, with := sentByHosts(t, cfg, c.run, perHost, false), sentByHosts(t, cfg, c.run, perHost, true)
			busiest, reduced := int64(0), int64(0)
			for h := range with {
				busiest, reduced = max(busiest, without[h]), reduced+with[h]-without[h]
			}
			sums := f.LinkBytes[dist.Collective]
			if got := f.Bytes() - sums; got != busiest {
				t.Errorf("the rings send %d bytes over the busiest link, estimated %d: %v", busiest, got, f.LinkBytes)
			}
			if difference := reduced - sums*int64(c.hosts); difference < 0 || difference >= int64(c.hosts) { // an average, rounded down
				t.Errorf("sums of gradients send %d bytes, estimated %d for each of %d hosts", reduced, sums, c.hosts)
			}
			if f.RanksPerHost != perHost {
				t.Errorf("%d ranks a host, want %d", f.RanksPerHost, perHost)
			}
		})
	}
}

// cluster is hosts on 1 Gbit/s, at 100 Gflop/s each.
func cluster(hosts int) estimate.Cluster {
	return estimate.Cluster{Hosts: hosts, Link: 125e6, Latency: 20e-6, Speed: estimate.Speed{Products: 100, Attention: 100}}
}

// Four hosts on 1 Gbit/s train a model of 1.2M parameters on 16,384 tokens: is the network fast enough?
func ExampleSpread() {
	c, err := hf.ConfigFromMap(map[string]any{
		"model_type": "llama", "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 6, "num_attention_heads": 2,
		"num_key_value_heads": 1, "vocab_size": 256, "tie_word_embeddings": true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	run := estimate.Run{SequenceLen: 16384, Ring: 4, Layout: shard.Contiguous}
	_, f, err := estimate.Spread(estimate.ModelOf(c), run, estimate.Cluster{
		Hosts: 4, Link: 125e6, Latency: 20e-6, Speed: estimate.Speed{Products: 100, Attention: 100},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%.1f s a step, %.2f s of it for the network; %s: %.1f s\n", f.Seconds, f.Exposed, f.Best.Layout, f.Best.Seconds)
	// Output:
	// 6.7 s a step, 0.01 s of it for the network; zigzag: 4.0 s
}
