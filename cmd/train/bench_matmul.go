package main

import (
	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/ops/bench"
)

func newBenchMatmul(out *output) *cobra.Command {
	var f benchFlags
	var m bench.Matmul
	cmd := &cobra.Command{
		Use:   "matmul --m N --n N --k N",
		Short: "Measure matrix products",
		Long: "matmul computes C [m,n] = op(A)·op(B) over k. --trans says which of the two are stored transposed:\n" +
			"a linear layer needs nt forward, nn for the gradient of its input and tn for that of its weight.",
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := f.options()
			if err != nil {
				return err
			}
			m.DType = f.dtype
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
	cmd.Flags().IntVar(&m.M, "m", 0, "rows of C")
	cmd.Flags().IntVar(&m.N, "n", 0, "columns of C")
	cmd.Flags().IntVar(&m.K, "k", 0, "terms of each sum")
	cmd.Flags().StringSliceVar(&m.Trans, "trans", []string{"nn"}, "some of `nn,nt,tn,tt`")
	f.addDType(cmd)
	f.add(cmd)
	required(cmd, "m", "n", "k")
	return cmd
}

func printMatmul(out *output, report bench.MatmulReport, o bench.Options) error {
	r := report.Results[0]
	err := out.printf("[%s, %s] over %s, %s, %s (%s)\n", thousands(int64(r.M)), thousands(int64(r.N)), thousands(int64(r.K)), r.DType, r.Device, r.ISA)
	if err != nil {
		return err
	}
	rows := make([][]string, len(report.Results))
	for i, r := range report.Results {
		rows[i] = append([]string{r.Trans}, figureCells(r.Figures)...)
	}
	if err := out.table(append([]string{"trans"}, figureHeader...), rows); err != nil {
		return err
	}
	return printCeilings(out, report.Ceilings, o)
}
