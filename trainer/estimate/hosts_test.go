package estimate

import (
	"math"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/dist"
	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// long is the model of configs/long.yaml.
var long = Model{Layers: 6, Hidden: 128, Intermediate: 384, Heads: 2, KVHeads: 1, HeadDim: 64, Vocab: 256, Tied: true, Parameters: 1214080, LayerParameters: 196864, Tensors: 56}

// gigabit is hosts on 1 Gbit/s, at so many Gflop/s each.
func gigabit(hosts int, gflops float64) Cluster {
	return Cluster{Hosts: hosts, Link: 125e6, Latency: 20e-6, Speed: Speed{Products: gflops, Attention: gflops}}
}

func spread(t *testing.T, m Model, r Run, c Cluster) Forecast {
	t.Helper()
	_, f, err := Spread(m, r, c)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance*math.Abs(want)) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// TestHostsOnAFastNetworkShareTheArithmetic: balanced ranks take 1/N of one machine's time, and one host has nothing to send.
func TestHostsOnAFastNetworkShareTheArithmetic(t *testing.T) {
	run := Run{SequenceLen: 16384, Ring: 4, Layout: shard.Zigzag}
	alone := Compute(long, run).Seconds(Speed{Products: 100, Attention: 100})
	fast := gigabit(4, 100)
	fast.Link, fast.Latency = 1e15, 0
	near(t, "four hosts", spread(t, long, run, fast).Seconds, alone/4, 0.01)
	f := spread(t, long, run, gigabit(1, 100))
	near(t, "one host", f.Seconds, alone, 0.01)
	if f.Bytes() != 0 || f.Exposed != 0 || f.Hidden != 0 {
		t.Errorf("one host sends %v, exposed %v s", f.LinkBytes, f.Exposed)
	}
}

// TestASlowNetworkTakesTheTimeOfItsBytes: with processors that take no time, a link is never idle but for the order of hops.
func TestASlowNetworkTakesTheTimeOfItsBytes(t *testing.T) {
	slow := gigabit(4, 1e9)
	slow.Latency = 0
	f := spread(t, long, Run{SequenceLen: 16384, Ring: 4, Layout: shard.Zigzag}, slow)
	near(t, "seconds", f.Seconds, float64(f.Bytes())/125e6, 0.01)
	near(t, "exposed", f.Exposed, f.Seconds, 0.01)
}

// TestTheRingHidesItsHops: of what long.yaml's ring sends, all but a little is hidden behind blocks, and of sums of gradients those of the embedding
// and of one layer of six are not. In the forward pass the first block arrives while the own one is worked on.
func TestTheRingHidesItsHops(t *testing.T) {
	f := spread(t, long, Run{SequenceLen: 16384, Ring: 4, Layout: shard.Zigzag}, gigabit(4, 100))
	sums := float64(f.LinkBytes[dist.Collective])/125e6 + 2*56*40e-6
	embedding := 256. * 128 / 1214080
	late := (embedding + (1-embedding)/6) * sums
	if f.Exposed < 0.999*late || f.Exposed > 1.1*late {
		t.Errorf("%v s are exposed, %v of it sums of gradients", f.Exposed, late)
	}
	near(t, "hidden", f.Hidden, float64(f.Bytes())/125e6-f.Exposed, 1e-9)
}

// TestSumsOfGradientsByHand: 4 ranks on 2 hosts. A host's ranks send 1/4 of 1,080 floats to 2 ranks elsewhere, twice each, for 3 micro-batches; two rounds of 20
// tensors, in each of which 4 pairs of ranks exchange.
func TestSumsOfGradientsByHand(t *testing.T) {
	c := gigabit(2, 1e9)
	c.Message = 1e-3
	r := Run{SequenceLen: 8, Data: 4, Accumulation: 3}
	f := spread(t, small, r, c)
	if want := int64(3 * 2 * 2 * 2 * 1080); f.LinkBytes[dist.Collective] != want || f.Bytes() != want {
		t.Errorf("%v over a link, want %d bytes of sums", f.LinkBytes, want)
	}
	near(t, "seconds", f.Seconds, 3*(2*20*(40e-6+4e-3)+2*2*2*1080/125e6), 1e-3)
	// Shares of the optimizer: a host keeps a half, and gets the other half of 1,080 floats.
	r.ZeroStage = 1
	f = spread(t, small, r, c)
	if want := int64(1080 * 4 / 2); f.LinkBytes[Parameters] != want {
		t.Errorf("%d bytes of updated parameters, want %d", f.LinkBytes[Parameters], want)
	}
}

// TestCopiesTakeProcessorTime: bytes that pass through the processor at both ends slow down a step that hides the links.
func TestCopiesTakeProcessorTime(t *testing.T) {
	run := Run{SequenceLen: 16384, Ring: 4, Layout: shard.Zigzag}
	c := gigabit(4, 100)
	without := spread(t, long, run, c)
	c.Copy, c.Cores = 4e9, 0.25
	with := spread(t, long, run, c)
	ringBytes := float64(with.Bytes() - with.LinkBytes[dist.Collective])
	near(t, "copies, a GB a second by a quarter of a core", with.Seconds-without.Seconds, ringBytes/1e9, 0.1)
}

// TestMemoryOfAHost: a host has its own ranks' part and all of the weights; one host is the process that it was before.
func TestMemoryOfAHost(t *testing.T) {
	run := Run{SequenceLen: 16384, Data: 2, Ring: 4, Layout: shard.Zigzag}
	one := spread(t, long, run, gigabit(1, 100)).HostMemory
	if all := Compute(long, run).Memory.Process; one != all {
		t.Errorf("one host takes %d bytes, a process with all ranks %d", one, all)
	}
	four := spread(t, long, run, gigabit(4, 100)).HostMemory
	shared := programSize + 3*4*long.Parameters
	near(t, "four hosts", float64(four-shared), float64(one-shared)/4, 0.2)

	large := long
	large.Parameters = 1 << 30
	whole := spread(t, large, run, gigabit(4, 100)).HostMemory
	run.ZeroStage = 1
	half := spread(t, large, run, gigabit(4, 100)).HostMemory
	near(t, "shares of the optimizer", float64(whole-half), 4*float64(large.Parameters), 0.05)
}

// TestAMeshScalesWhatAStepTakes: two rings have twice the tokens, arithmetic and bytes of one, and twice its ranks.
func TestAMeshScalesWhatAStepTakes(t *testing.T) {
	one, two := Compute(long, Run{SequenceLen: 4096, Ring: 4}), Compute(long, Run{SequenceLen: 4096, Ring: 4, Data: 2})
	if two.TokensPerStep != 2*one.TokensPerStep || two.Flops.Total != 2*one.Flops.Total {
		t.Errorf("%d tokens and %v operations, want twice %d and %v", two.TokensPerStep, two.Flops.Total, one.TokensPerStep, one.Flops.Total)
	}
	if got, want := two.Wire[dist.ForwardKV], one.Wire[dist.ForwardKV]; got.Bytes != 2*want.Bytes || got.Hops != want.Hops {
		t.Errorf("rings send %+v, one ring %+v", got, want)
	}
	if got, want := two.Wire[dist.Collective].Bytes, 2*7*4*long.Parameters; got != want {
		t.Errorf("8 ranks sum gradients with %d bytes, want %d", got, want)
	}
	shared := one.Memory.Shared.total()
	near(t, "memory of the ranks", float64(two.Memory.Process-two.Memory.Garbage-shared), 2*float64(one.Memory.Process-one.Memory.Garbage-shared), 0.01)
}

// TestTheBestLayoutIsFoundAndKeepsTheStep: balanced instead of contiguous; rings within hosts where sequences allow it; and none that needs more memory than there is.
func TestTheBestLayoutIsFoundAndKeepsTheStep(t *testing.T) {
	c := gigabit(4, 100)
	run := Run{SequenceLen: 16384, Ring: 4, Layout: shard.Contiguous}
	f := spread(t, long, run, c)
	if f.Best.Layout == shard.Contiguous || f.Best.Seconds > 0.65*f.Seconds || f.Best.Ring != 4 || f.Best.Tried < 6 {
		t.Errorf("best %+v of a step of %v s", f.Best, f.Seconds)
	}
	run.Layout = shard.Zigzag
	if own := spread(t, long, run, c); own.Best.Layout != shard.Zigzag || own.Best.Seconds != own.Seconds {
		t.Errorf("the run's own layout is not named where others save nothing: %+v of %v s", own.Best, own.Seconds)
	}
	c.Link, run.Accumulation = 1e6, 4
	f = spread(t, long, run, c)
	if f.Best.Data != 4 || f.Best.Ring != 1 || f.Best.Accumulation != 1 {
		t.Errorf("on a slow network, 4 sequences: best %+v, want a sequence for each rank", f.Best)
	}
	run.Data, run.Ring, run.Accumulation = f.Best.Data, f.Best.Ring, 1
	near(t, "the best run itself", spread(t, long, run, c).Seconds, f.Best.Seconds, 1e-9)

	run = Run{SequenceLen: 16384, Ring: 4, Layout: shard.Zigzag, Accumulation: 4, MemoryLimit: f.HostMemory + 20<<20}
	if f = spread(t, long, run, c); f.Best.Ring != 4 {
		t.Errorf("best %+v takes more than the limit", f.Best)
	}
}

// TestInnerRingsFollowTheHosts as package trainer has it.
func TestInnerRingsFollowTheHosts(t *testing.T) {
	for name, c := range map[string]struct {
		run            Run
		perHost, inner int
	}{
		"one rank a host": {Run{Ring: 4}, 1, 1}, "two": {Run{Ring: 4}, 2, 2}, "a whole ring": {Run{Ring: 4}, 4, 1},
		"Ulysses": {Run{Ring: 8, Ulysses: 2}, 4, 2}, "Ulysses across hosts": {Run{Ring: 8, Ulysses: 4}, 2, 1}, "given": {Run{Ring: 8, Inner: 2}, 4, 2},
		"rings across the edges of hosts": {Run{Ring: 8}, 3, 1},
	} {
		if got := c.run.inner(c.perHost); got != c.inner {
			t.Errorf("%s: %d, want %d", name, got, c.inner)
		}
	}
}

func TestClustersThatCannotBeAreRefused(t *testing.T) {
	good := Run{SequenceLen: 64, Data: 2, Ring: 3}
	for name, c := range map[string]struct {
		run     Run
		cluster Cluster
		want    string
	}{
		"uneven":        {good, gigabit(4, 1), "6 ranks (data_parallel_size 2 x context_parallel_size 3) cannot be dealt to 4 hosts evenly; take 1, 2, 3 or 6 hosts"},
		"shares":        {Run{SequenceLen: 64, Data: 2, Ring: 3, ZeroStage: 1}, gigabit(3, 1), "rings of 3 ranks (context_parallel_size) and hosts of 2 do not fit"},
		"no hosts":      {good, gigabit(0, 1), "0 hosts: give at least 1"},
		"no link":       {good, Cluster{Hosts: 2, Speed: Speed{1, 1}}, "a link of 0 bytes a second"},
		"no speed":      {good, gigabit(2, 0), "a speed of 0 and 0 Gflop/s a host"},
		"no cores":      {good, Cluster{Hosts: 2, Link: 1, Copy: 1, Speed: Speed{1, 1}}, "0 cores of a host"},
		"endless delay": {good, Cluster{Hosts: 2, Link: 1, Latency: math.Inf(1), Speed: Speed{1, 1}}, "a latency of +Inf"},
		"heads":         {Run{SequenceLen: 64, Ring: 6, Ulysses: 3}, gigabit(2, 1), "Ulysses groups of 3"},
	} {
		if _, _, err := Spread(small, c.run, c.cluster); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// TestQueriesTravelWhereTheyAreLess: with as many KV heads as heads, and a network that is all there is to wait for.
func TestQueriesTravelWhereTheyAreLess(t *testing.T) {
	m := long
	m.Heads, m.KVHeads, m.HeadDim = 2, 2, 64
	f := spread(t, m, Run{SequenceLen: 4096, Ring: 4, Layout: shard.Zigzag}, gigabit(4, 1e6))
	if f.Best.Travel != ring.Q && f.Best.Ulysses == 1 {
		t.Errorf("best %+v", f.Best)
	}
}

func TestRatesAreReadAsTheyAreWritten(t *testing.T) {
	for text, want := range map[string]float64{
		"25GB/s": 25e9, "200Gbps": 25e9, "1Gbit/s": 125e6, "100Mbit/s": 12.5e6, "1.5 GiB/s": 1.5 * (1 << 30), "400Gb/s": 50e9, "800B/s": 800, "8kbit/s": 1000,
	} {
		if got, err := ParseRate(text); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "25", "25GB", "fast", "-1GB/s", "0Gbit/s", "1e9B/s", "25 gb/s"} {
		if _, err := ParseRate(text); err == nil || !strings.Contains(err.Error(), "ate") {
			t.Errorf("%q is read: %v", text, err)
		}
	}
	if got := RateText(125e6) + ", " + RateText(25e9) + ", " + RateText(12); got != "125 MB/s, 25 GB/s, 12 B/s" {
		t.Errorf("rates read %s", got)
	}
}
