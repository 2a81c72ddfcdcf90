package main

import (
	"fmt"
	"strings"

	"github.com/ringgrad/ringgrad/ops/internal/kernel/cuda/gate/model"
	"github.com/ringgrad/ringgrad/ops/internal/kernel/cuda/gate/sass"
)

// width of the model whose heads the estimate computes, as in the figures of the FlashAttention papers: heads = width/D, batch 1.
const modelWidth = 2048

// prediction is what the model says of one of our kernels on an H200.
type prediction struct {
	kernel
	model.Kernel
	model.Cycles
}

// extras is how functions end that know softcap, ALiBi and dropout.
const extras = "_extras"

// predictions are those of the passes that use tensor cores, for the machine code of compute capability 9.0. Kernels in which no loop does
// a pair of tiles are named in unfound.
func predictions(kernels []kernel) (list []prediction, unfound []string) {
	for _, k := range kernels {
		hopper := k.target == "sm_90" && k.family == "mma" || k.target == "sm_90a"
		if !hopper || !k.known || !k.attends() || strings.Contains(k.name, "_f16_") {
			continue
		}
		if p, ok := predict(k); ok {
			list = append(list, p)
		} else {
			unfound = append(unfound, k.name+" "+k.function)
		}
	}
	return list, unfound
}

func predict(k kernel) (prediction, bool) {
	tile := model.Tile{Queries: k.launch.Queries, Keys: k.launch.Keys, Dim: k.width, Backward: strings.HasPrefix(k.function, "backward")}
	warps := k.mathWarps()
	units := warps // that a tensor instruction is counted for
	if k.mix.Count[sass.HGMMA] > 0 {
		units /= 4
	}
	loop, ok := k.code.MainLoop(tile.FMA() / units)
	if !ok {
		return prediction{}, false
	}
	full := model.Loop{Mix: loop.Short, Warps: warps, Blocks: k.blocksPerSM()}
	partial := full
	partial.Mix = loop.Long
	if strings.HasSuffix(k.function, extras) {
		full = partial
	}
	m := model.Kernel{Tile: tile, Full: full, Partial: partial, ShortFirst: shortFirst(k.function)}
	return prediction{k, m, full.Cycles(tile)}, true
}

// shortFirst says in which order a pass takes the tiles of a head: both from the last one down. With a causal mask the last tile of queries
// sees the most keys, and the last tile of keys is seen by the fewest queries.
func shortFirst(function string) bool { return strings.HasPrefix(function, "backward") }

// mathWarps go through the main loop: all, or all but the warpgroup that gives its registers away and copies.
func (k kernel) mathWarps() int {
	for _, in := range k.code.Code {
		if strings.HasPrefix(in.Op, "USETMAXREG.DEALLOC") {
			return k.threads/32 - 4
		}
	}
	return k.threads / 32
}

const estimateHead = `# Predicted speed of the kernels on an H200

**This is a prediction. No GPU has confirmed it.** ` + "`go run ./ops/internal/kernel/cuda/gate -write`" + ` makes it from the machine code.

The main loop is found in the machine code by its tensor instructions, which must do a pair of tiles a turn, or several, and the
instructions of a turn over a full tile are counted: every tensor instruction and every copy, and of the rest as little as the branches
allow. From them come the cycles of one SM that each resource needs for a pair of tiles of one block: tensor cores (wgmma %d
multiply-adds a clock, mma.sync %.0f %% of that), shared memory (operands of wgmma, loads, stores and shuffles), issue (4 instructions of a
warp a clock), special function unit (16 lanes), compares and integers (64 lanes), L2 (K and V forward; Q, dO and dQ backward; %.1f TB/s).
Tensor cores, shared memory and the busiest of the others overlap in part: cycles = (a^p+b^p+c^p)^(1/p) with p = %.2f, or 1 where a
scheduler has one warp; L2 overlaps in full. Blocks are then handed out over %d SMs at %.2f GHz for a model of width %d (heads = width/D,
batch 1), with the waste on the diagonal and at the end. Rates are TFLOP/s as papers count them.

It does not know of bank conflicts, of latencies that nothing hides, of turns that wait for one another (ordered dQ), nor of power limits
other than through p.

p is fitted, with one number for all, to ten published kernels whose machine code went through the same counting. Rates of the loop alone:

| published kernel | tile | tensor | shared | issue | special | integer | L2 | predicted | published | off |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
`

const estimateOurs = `
Ours. Pairs: how many pairs of tiles a turn of the loop does by its tensor instructions. Limit: L2 if it alone decides,
else the largest of the resources that share the time. Extras: every branch is taken, so all of softcap, ALiBi and dropout are on. Of FA3: the prediction for 16k, not causal, beside what FlashAttention-3 measured.

| kernel | function | tile | warps x blocks | pairs | tensor | shared | issue | special | integer | L2 | cycles | limit | 16k | 16k causal | 32k | 32k causal | of FA3 |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
`

// estimate is the table that is committed beside the PTX.
func estimate(kernels []kernel) string {
	var b strings.Builder
	fmt.Fprintf(&b, estimateHead, model.WGMMARate, 100*model.MMAShare, model.L2Rate/1e12, model.Overlap, model.SMs, model.Clock/1e9, modelWidth)
	for _, r := range model.References() {
		c := r.Loop.Cycles(r.Tile)
		rate := c.Steady(r.Tile, r.Loop)
		fmt.Fprintf(&b, "| %s | %dx%d | %s | %.0f | %.0f | %+.0f %% |\n", r.Name, r.Tile.Queries, r.Tile.Keys, cycles(c), rate, r.Published, 100*(rate/r.Published-1))
	}
	b.WriteString(estimateOurs)
	list, unfound := predictions(kernels)
	for _, p := range list {
		fmt.Fprintf(&b, "| %s | %s | %dx%d | %dx%d | %.4g | %s | %.0f | %s |", p.name, p.function, p.Tile.Queries, p.Tile.Keys, p.Full.Warps, p.Full.Blocks,
			p.Pairs, cycles(p.Cycles), p.Pair(p.Full), p.Bound(p.Full))
		for _, tokens := range []int{16 << 10, 32 << 10} {
			for _, causal := range []bool{false, true} {
				fmt.Fprintf(&b, " %.0f |", p.TFLOPS(model.Case{Tokens: tokens, Heads: modelWidth / p.Tile.Dim, Causal: causal}))
			}
		}
		fmt.Fprintf(&b, " %s |\n", p.ofFA3())
	}
	if len(unfound) > 0 {
		fmt.Fprintf(&b, "\nNot predicted, because no loop does a pair of tiles: %s.\n", strings.Join(unfound, ", "))
	}
	return b.String()
}

// ofFA3 is the prediction for 16k tokens and no mask as a share of what FlashAttention-3 measured, or nothing where that is not known.
func (p prediction) ofFA3() string {
	for _, r := range model.References() {
		if strings.HasPrefix(r.Name, "FA3") && !r.Causal && r.Tile.Backward == p.Tile.Backward && r.Tile.Dim == p.Tile.Dim {
			return fmt.Sprintf("%.0f %%", 100*p.TFLOPS(model.Case{Tokens: 16 << 10, Heads: modelWidth / p.Tile.Dim})/r.Published)
		}
	}
	return ""
}

func cycles(c model.Cycles) string {
	return fmt.Sprintf("%.0f | %.0f | %.0f | %.0f | %.0f | %.0f", c.Tensor, c.Shared, c.Issue, c.Special, c.Integer, c.L2)
}

// estimateMixes lists the instructions that the estimate was made from.
func estimateMixes(kernels []kernel) string {
	var b strings.Builder
	b.WriteString("\nInstructions of a warp in a turn of the main loop over a full tile, and over a partial one:\n")
	list, _ := predictions(kernels)
	for _, p := range list {
		fmt.Fprintf(&b, "%s %s %s\n  full    %s\n  partial %s\n", p.name, p.function, p.target, mixLine(p.Full.Mix), mixLine(p.Partial.Mix))
	}
	return b.String()
}

func mixLine(m sass.Mix) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d:", m.Issued)
	for _, class := range sass.Classes {
		if n := m.Count[class]; n > 0 {
			fmt.Fprintf(&b, " %s %d", class, n)
		}
	}
	return b.String()
}
