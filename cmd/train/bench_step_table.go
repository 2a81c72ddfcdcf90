package main

import (
	"fmt"
	"strings"

	"github.com/ringgrad/ringgrad/ops/bench"
)

func printStep(out *output, report stepReport, o bench.Options) error {
	r := report.Results[0]
	err := out.printf("a step of %s tokens, sequences of %s, %s parameters, ring of %d (%s), %s, %s (%s)\n",
		thousands(r.Tokens), thousands(int64(r.Seq)), thousands(r.Parameters), r.Ring, r.Layout, r.DType, r.Device, r.ISA)
	if err != nil {
		return err
	}
	row := append([]string{thousands(int64(r.TokensPerSecond + 0.5))}, figureCells(r.Figures)...)
	if err := out.table(append([]string{"tokens/s"}, figureHeader...), [][]string{row}); err != nil {
		return err
	}
	row = append(rooflineCells(r.Figures), bytesText(r.PeakMemory), bytesText(r.EstimatedMemory))
	if err := out.table(append(rooflineHeader, "peak memory", "estimated"), [][]string{row}); err != nil {
		return err
	}
	rows := make([][]string, len(r.Parts))
	for i, p := range r.Parts {
		rows[i] = []string{strings.ReplaceAll(p.Part, "_", " "), millis(p.MS), fmt.Sprintf("%.1f %%", 100*p.Share)}
	}
	if err := out.table([]string{"part, mean over ranks", "ms", "share"}, rows); err != nil {
		return err
	}
	return printCeilings(out, report.Ceilings, o)
}
