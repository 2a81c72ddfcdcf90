package main

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/ops/bench"
	"github.com/ringgrad/ringgrad/ops/mask"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

// maskFlags say what of attention is hidden, what is done to its scores, how it is dealt to ranks and what it is set against.
type maskFlags struct {
	left, right       int
	documents, random int
	lengths           []int
	seed              uint64
	travel            string
}

func (f *maskFlags) add(cmd *cobra.Command, a *bench.Attention) {
	flags := cmd.Flags()
	flags.IntVar(&a.ValueDim, "value-dim", 0, "width of a value head (default: head-dim)")
	flags.IntVar(&f.left, "window-left", mask.Unbounded, "keys before its own that a position sees; -1 is no bound")
	flags.IntVar(&f.right, "window-right", mask.Unbounded, "and behind")
	flags.IntVar(&f.documents, "documents", 0, "packed documents of the same length")
	flags.IntSliceVar(&f.lengths, "document-lengths", nil, "packed documents of these lengths, as in `100,28`")
	flags.IntVar(&f.random, "documents-random", 0, "packed documents of random lengths, log-normal")
	flags.Uint64Var(&f.seed, "seed", 1, "of the random lengths")
	flags.Float64Var(&a.Softcap, "softcap", 0, "`C`: a score s becomes C·tanh(s/C); 0 is none")
	flags.BoolVar(&a.ALiBi, "alibi", false, "ALiBi, with the slopes 2^(-8(h+1)/H)")
	flags.BoolVar(&a.Sinks, "sinks", false, "an attention sink a head")
	flags.Float64Var(&a.Dropout, "dropout", 0, "`probability` that a pair is dropped")
	flags.StringVar(&f.travel, "travel", string(ring.KV), "kv, `q` or auto: what goes round the ring")
	flags.IntVar(&a.Ulysses, "ulysses", 0, "ranks that exchange rows for heads before the ring")
	flags.IntVar(&a.Inner, "inner-ring", 0, "ranks of an inner ring of a double ring")
	flags.StringVar(&a.Against.What, "against", "", "also measure plain `causal` attention, or kv: the same with keys and values travelling")
	flags.IntVar(&a.Against.Seq, "against-seq", 0, "positions of that causal attention (default: seq)")
}

// set takes what flags say that is not a field of a.
func (f *maskFlags) set(cmd *cobra.Command, a *bench.Attention) (err error) {
	changed := cmd.Flags().Changed
	if changed("window-left") || changed("window-right") {
		a.Window = &mask.Window{Left: f.left, Right: f.right}
	}
	if changed("travel") {
		a.Travel = ring.Travel(f.travel)
	}
	if changed("against") && a.Against.What == "" {
		return errors.New("bench: --against is empty: give causal or kv")
	}
	ways := 0
	for _, name := range []string{"documents", "document-lengths", "documents-random"} {
		if changed(name) {
			ways++
		}
	}
	switch {
	case ways > 1:
		return errors.New("bench: documents are given twice; give one of --documents, --document-lengths and --documents-random")
	case changed("seed") && !changed("documents-random"):
		return errors.New("bench: --seed is that of random documents; give --documents-random too")
	case changed("documents"):
		a.Documents, err = bench.EqualDocuments(a.Seq, f.documents)
	case changed("documents-random"):
		a.Documents, err = bench.RandomDocuments(a.Seq, f.random, f.seed)
	case changed("document-lengths"):
		a.Documents = f.lengths
	}
	return err
}

// optionsText lists what is not plain in attention, one line or more of at most so many columns, or "".
func optionsText(r bench.AttentionResult) string {
	var items []string
	add := func(some bool, format string, args ...any) {
		if some {
			items = append(items, fmt.Sprintf(format, args...))
		}
	}
	add(r.ValueDim > 0, "values of %d", r.ValueDim)
	if r.WindowLeft != nil {
		add(true, "window %s", windowText(*r.WindowLeft, *r.WindowRight))
	}
	add(r.Documents > 0, "%s", count(r.Documents, "document"))
	add(r.Softcap > 0, "softcap %g", r.Softcap)
	add(r.ALiBi, "ALiBi")
	add(r.Sinks, "sinks")
	add(r.Dropout > 0, "dropout %g", r.Dropout)
	add(r.Travel == ring.KV, "keys and values travel")
	add(r.Travel == ring.Q, "queries travel")
	add(r.Ulysses > 1, "Ulysses groups of %d", r.Ulysses)
	add(r.InnerRing > 1, "inner rings of %d", r.InnerRing)
	add(r.ComputedOverVisible > 0, "%.3f pairs computed for each visible one", r.ComputedOverVisible)
	add(r.LargestRankOverMean > 0, "largest rank %.3f of the mean", r.LargestRankOverMean)
	return wrapped(items)
}

func windowText(left, right int) string {
	side := func(n int) string {
		if n == mask.Unbounded {
			return "unbounded"
		}
		return thousands(int64(n))
	}
	return side(left) + " left, " + side(right) + " right"
}

// wrapped joins items by commas to lines that fit.
func wrapped(items []string) string {
	var b strings.Builder
	width := 0
	for i, item := range items {
		n := utf8.RuneCountInString(item)
		switch {
		case i == 0:
		case width+len("; ")+n+len(";") > tableWidth:
			b.WriteString(";\n")
			width = 0
		default:
			b.WriteString("; ")
			width += len("; ")
		}
		b.WriteString(item)
		width += n
	}
	if len(items) > 0 {
		b.WriteString("\n")
	}
	return b.String()
}

// printAgainst is the table of the ratios, if there are any.
func printAgainst(out *output, results []bench.AttentionResult) error {
	var rows [][]string
	name := ""
	for _, r := range results {
		a := r.AgainstFigures
		if a == nil {
			return nil
		}
		ratio, label := a.OverCausal, "÷ causal's"
		if a.OverKV > 0 {
			ratio, label = a.OverKV, "÷ keys and values travelling"
		}
		name = label
		rows = append(rows, []string{
			r.Pass, ringText(r), fmt.Sprintf("%.3f", ratio), thousands(int64(a.Against.Seq)), string(a.Against.Layout),
			fmt.Sprintf("%.1f", a.Against.GFlopsPerCoreSecond), millis(a.Against.BusyMS),
		})
	}
	return out.table([]string{"pass", "ring", name, "of seq", "layout", "Gflop a core-second", "busy ms"}, rows)
}

func ringText(r bench.AttentionResult) string {
	if r.Ring > 1 {
		return fmt.Sprintf("%d %s", r.Ring, r.Layout)
	}
	return "1"
}
