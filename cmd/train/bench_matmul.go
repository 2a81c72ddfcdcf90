package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/ops"
	"github.com/ringgrad/ringgrad/ops/bench"
	"github.com/ringgrad/ringgrad/trainer/config"
	"github.com/ringgrad/ringgrad/trainer/hf"
)

// matmulFlags say which products: one shape, or those of a config's layers.
type matmulFlags struct {
	m, n, k int
	trans   []string
	path    string
	set     []string
}

func newBenchMatmul(out *output) *cobra.Command {
	var f benchFlags
	var shape matmulFlags
	cmd := &cobra.Command{
		Use:   "matmul --m N --n N --k N | --config FILE",
		Short: "Measure matrix products",
		Long: "matmul computes C [m,n] = op(A)·op(B) over k. --trans says which of the two are stored transposed:\n" +
			"a linear layer needs nt forward, nn for the gradient of its input and tn for that of its weight.\n" +
			"--config takes the layers of a run's model instead, each of these three, on the rows of a rank.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := f.options()
			if err != nil {
				return err
			}
			if err := f.needCPU(); err != nil {
				return err
			}
			products, err := shape.products(cmd)
			if err != nil {
				return err
			}
			m := bench.Matmul{Products: products, DType: f.dtype}
			if err := m.Validate(); err != nil {
				return err
			}
			report, err := m.Measure(cmd.Context(), o)
			if err != nil {
				return failed{err}
			}
			if out.json {
				return out.document(report)
			}
			return printMatmul(out, report, o)
		},
	}
	cmd.Flags().IntVar(&shape.m, "m", 0, "rows of C")
	cmd.Flags().IntVar(&shape.n, "n", 0, "columns of C")
	cmd.Flags().IntVar(&shape.k, "k", 0, "terms of each sum")
	cmd.Flags().StringSliceVar(&shape.trans, "trans", []string{"nn"}, "some of `nn,nt,tn,tt`")
	cmd.Flags().StringVar(&shape.path, "config", "", "a run's YAML `FILE`")
	f.addDType(cmd, "`float32` or float64")
	f.add(cmd, onCPU)
	addSet(cmd, &shape.set)
	return cmd
}

// products are those that the flags ask for.
func (f *matmulFlags) products(cmd *cobra.Command) ([]bench.Product, error) {
	sized := false
	for _, name := range []string{"m", "n", "k", "trans"} {
		sized = sized || cmd.Flags().Changed(name)
	}
	switch {
	case f.path != "" && sized:
		return nil, errors.New("matmul takes its shapes from --config or from --m, --n, --k and --trans; give one of them")
	case f.path != "":
		return layerProducts(f.path, f.set)
	case len(f.set) > 0:
		return nil, errors.New("matmul: --set changes a config; give --config too")
	case f.m == 0 || f.n == 0 || f.k == 0:
		return nil, errors.New("matmul needs --m and --n and --k, or --config; see train bench matmul --help")
	}
	var list []bench.Product
	for _, t := range f.trans {
		list = append(list, bench.Product{M: f.m, N: f.n, K: f.k, Trans: t})
	}
	return list, nil
}

// layerProducts are those of one layer and of the logits, on the rows that a rank has in a pass.
func layerProducts(path string, set []string) ([]bench.Product, error) {
	cfg, err := config.Load(path, set)
	if err != nil {
		return nil, err
	}
	m, err := modelOf(cfg)
	if err != nil {
		return nil, err
	}
	rows := cfg.MicroBatchSize * ((cfg.SequenceLen + cfg.ContextParallelSize - 1) / cfg.ContextParallelSize)
	var list []bench.Product
	for _, l := range linears(m) {
		list = append(list, bench.Linear(l.name, rows, l.in, l.out)...)
	}
	return append(list, bench.Linear("lm_head", min(rows, ops.ChunkRows(m.VocabSize)), m.HiddenSize, m.VocabSize)...), nil
}

type linear struct {
	name    string
	in, out int
}

// linears are a layer's, those of one shape together.
func linears(m hf.Config) []linear {
	queries, keys := m.NumHeads*m.HeadDim, m.NumKVHeads*m.HeadDim
	list := []linear{{"q", m.HiddenSize, queries}, {"o", queries, m.HiddenSize}}
	if queries == m.HiddenSize {
		list = []linear{{"q, o", m.HiddenSize, queries}}
	}
	return append(list, linear{"k, v", m.HiddenSize, keys}, linear{"gate, up", m.HiddenSize, m.IntermediateSize}, linear{"down", m.IntermediateSize, m.HiddenSize})
}

func printMatmul(out *output, report bench.MatmulReport, o bench.Options) error {
	first := report.Results[0]
	if err := out.printf("matrix products, %s, %s (%s)\n", first.DType, first.Device, first.ISA); err != nil {
		return err
	}
	rows, roofs := make([][]string, len(report.Results)), make([][]string, len(report.Results))
	for i, r := range report.Results {
		name := []string{strings.TrimSpace(r.Layer + " " + r.Trans), fmt.Sprintf("%d %d %d", r.M, r.N, r.K)}
		rows[i] = slices.Concat(name, figureCells(r.Figures))
		roofs[i] = slices.Concat(name, rooflineCells(r.Figures))
	}
	name := []string{"product", "m n k"}
	if err := out.table(slices.Concat(name, figureHeader), rows); err != nil {
		return err
	}
	if err := out.table(slices.Concat(name, rooflineHeader), roofs); err != nil {
		return err
	}
	return printCeilings(out, report.Ceilings, o)
}
