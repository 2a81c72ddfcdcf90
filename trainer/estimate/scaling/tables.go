package scaling

import (
	"fmt"
	"strings"
)

// Table is one of docs/scaling.md.
type Table struct{ Title, Markdown string }

// K and M are how lengths of sequences are written.
const (
	k = 1 << 10
	m = 1 << 20
)

// Tables are those of docs/scaling.md, in order.
func Tables() []Table {
	return []Table{
		{"Attention of one layer, forward and backward", attentionTable()},
		{"A step of an 8B model, best mesh and layout", stepTable()},
		{"Sums of gradients and memory, as this project has them", reductionTable()},
		{"Hosts without accelerators, one rank each", hostsTable()},
		{"Where a single ring stops", enoughTable()},
	}
}

// shapes are the lengths and sizes of the first table.
var shapes = []struct {
	tokens float64
	ranks  []int
}{
	{128 * k, []int{8, 32, 64, 128, 256, 512}},
	{512 * k, []int{128, 512}},
	{1 * m, []int{128, 256, 512, 1024}},
	{4 * m, []int{512, 1024}},
	{16 * m, []int{512, 1024}},
}

func attentionTable() string {
	t := newTable("tokens", "GPUs", "tokens a GPU", "ideal ms", "contiguous", "zigzag", "double ring", "double, 1 card a host", "Ulysses 8 × ring")
	one := GPUs()
	one.Cards = 1
	for _, shape := range shapes {
		for _, ranks := range shape.ranks {
			r := Run{Machine: GPUs(), Model: Llama8B(), Tokens: shape.tokens, Ring: ranks}
			_, ideal := r.Attention()
			row := []string{lengthText(r.Tokens), fmt.Sprint(ranks), fmt.Sprintf("%.0f", r.rows()), msText(ideal)}
			for _, c := range []struct {
				layout  Layout
				machine Machine
			}{{Contiguous, GPUs()}, {Zigzag, GPUs()}, {Double, GPUs()}, {Double, one}, {Ulysses, GPUs()}} {
				r.Layout, r.Machine = c.layout, c.machine
				seconds, _ := r.Attention()
				row = append(row, fmt.Sprintf("%s (%s)", msText(seconds), percentText(ideal/seconds)))
			}
			t.row(row...)
		}
	}
	return t.String()
}

// mostTokens is how many tokens a step may have: beyond some millions, more of them teach a model less each. One sequence it always may.
const mostTokens = 4 * m

// Best is the mesh and the layout of some ranks with the most tokens a second; every ring has one sequence.
func Best(machine Machine, model Model, tokens float64, ranks int, how Reduction) (Run, Step) {
	var best Run
	var step Step
	for ring := 1; ring <= ranks; ring *= 2 {
		for _, layout := range Layouts() {
			r := Run{Machine: machine, Model: model, Tokens: tokens, Ring: ring, Data: ranks / ring, Layout: layout}
			if r.rows() > mostRows || r.rows() < 1 || r.Data > 1 && tokens*float64(r.Data) > mostTokens {
				continue
			}
			s := r.Step(how, r.Data > 1)
			if best.Ring == 0 || float64(r.Data)/s.Seconds() > float64(best.Data)/step.Seconds() {
				best, step = r, s
			}
		}
	}
	return best, step
}

// mostRows is how many tokens of a large model a device's memory holds: 32 layers keep 1 MiB of each.
const mostRows = 64 * k

func stepTable() string {
	t := newTable("tokens of a sequence", "GPUs", "mesh (data × context), layout", "tokens a step", "step s", "of the ideal", "with direct sums: mesh, layout", "step s", "of the ideal")
	for _, tokens := range []float64{128 * k, 1 * m, 16 * m} {
		for _, ranks := range []int{64, 256, 1024} {
			if tokens/float64(ranks) > mostRows {
				continue
			}
			row := []string{lengthText(tokens), fmt.Sprint(ranks)}
			for _, how := range []Reduction{Hierarchical, Direct} {
				r, s := Best(GPUs(), Llama8B(), tokens, ranks, how)
				row = append(row, fmt.Sprintf("%d × %d, %s", r.Data, r.Ring, r.Layout))
				if how == Hierarchical {
					row = append(row, lengthText(tokens*float64(r.Data)))
				}
				row = append(row, secondsText(s.Seconds()), percentText(s.Efficiency()))
			}
			t.row(row...)
		}
	}
	return t.String()
}

func reductionTable() string {
	t := newTable("GPUs", "hosts", "a host sends", "at the least", "messages of a rank", "of all ranks", "bytes of a norm's message", "takes s", "memory of a host, zero_stage 0", "and 1")
	for _, ranks := range []int{8, 16, 64, 128, 256, 512, 1024} {
		r := Run{Machine: GPUs(), Model: Llama8B(), Tokens: 1 * m, Ring: min(ranks, 64), Data: ranks / min(ranks, 64), Layout: Ulysses}
		direct, least := r.Traffic(Direct), r.Traffic(Hierarchical)
		t.row(fmt.Sprint(ranks), fmt.Sprint(r.Hosts()), bytesText(direct.HostBytes), bytesText(least.HostBytes), countText(direct.Messages),
			countText(direct.Messages*float64(ranks)), fmt.Sprintf("%.0f", direct.Smallest), secondsText(r.reduction(Direct)),
			bytesText(r.HostMemory(false)), bytesText(r.HostMemory(true)))
	}
	return t.String()
}

func hostsTable() string {
	t := newTable("tokens", "hosts", "tokens a host", "attention s", "of the ideal", "sums of gradients s", "step s", "of the ideal")
	for _, shape := range []struct {
		tokens float64
		ranks  []int
	}{{128 * k, []int{4, 16, 64, 256, 1024}}, {1 * m, []int{64, 256, 1024}}, {16 * m, []int{1024}}} {
		for _, ranks := range shape.ranks {
			r := Run{Machine: CPUs(), Model: Llama8B(), Tokens: shape.tokens, Ring: ranks, Data: 1, Layout: Zigzag}
			_, ideal := r.Attention()
			s := r.Step(Direct, false)
			t.row(lengthText(r.Tokens), fmt.Sprint(ranks), fmt.Sprintf("%.0f", r.rows()), secondsText(s.Attention),
				percentText(ideal*float64(r.Model.Layers)/s.Attention), secondsText(s.Reduction), secondsText(s.Seconds()), percentText(s.Efficiency()))
		}
	}
	return t.String()
}

func enoughTable() string {
	t := newTable("between hosts", "operations a second of a rank", "c*: tokens a rank", "ranks for 128k", "for 1M", "for 16M", "floor of a layer at 1M, ms")
	gpu, cpu := GPUs(), CPUs()
	add := func(name string, machine Machine) {
		enough := machine.Enough(Llama8B())
		row := []string{name, fmt.Sprintf("%.1fT", machine.Forward/1e12), fmt.Sprintf("%.0f", enough)}
		for _, tokens := range []float64{128 * k, 1 * m, 16 * m} {
			row = append(row, countText(tokens/enough))
		}
		t.row(append(row, msText(Run{Machine: machine, Model: Llama8B(), Tokens: 1 * m}.Floor()))...)
	}
	add("400 Gbit/s, GPU", gpu)
	gpu.Outer = gpu.Inner
	add("450 GB/s, GPU", gpu)
	add("100 Gbit/s, 64 cores", cpu)
	cpu.Outer = 1.25e9
	add("10 Gbit/s, 64 cores", cpu)
	cpu.Outer, cpu.Forward, cpu.Backward = 0.125e9, 0.2e12, 0.2e12
	add("1 Gbit/s, 2 cores", cpu)
	return t.String()
}

// table collects rows of Markdown.
type table struct{ lines []string }

func newTable(columns ...string) *table {
	t := &table{}
	t.row(columns...)
	t.row(strings.Split(strings.Repeat("--- ", len(columns)-1)+"---", " ")...)
	return t
}

func (t *table) row(cells ...string) {
	t.lines = append(t.lines, "| "+strings.Join(cells, " | ")+" |")
}

func (t *table) String() string { return strings.Join(t.lines, "\n") + "\n" }
