package main

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ringgrad/ringgrad/ops/ringattn/gradcheck"
)

func checkGolden(ctx context.Context, out *output, path string, o gradcheck.Options) error {
	report, err := runGolden(ctx, out, path, o)
	if err != nil {
		return err
	}
	cases := summarize(report)
	bad := 0
	for _, c := range cases {
		if c.failed > 0 {
			bad++
		}
	}
	if out.json {
		err = out.document(report)
	} else {
		err = printGolden(out, cases)
	}
	if err != nil {
		return err
	}
	return verdict(bad, len(cases), "cases")
}

// runGolden checks file by file, to show how far it is.
func runGolden(ctx context.Context, out *output, path string, o gradcheck.Options) (gradcheck.Report, error) {
	files, err := filepath.Glob(filepath.Join(path, "*.safetensors"))
	if err != nil || len(files) == 0 {
		files = []string{path} // one file, or a mistake that the check names
	}
	bar := progress{out: out}
	defer bar.close()
	all := gradcheck.Report{OK: true}
	for i, file := range files {
		bar.show("checking", i, len(files))
		report, err := gradcheck.CheckGolden(ctx, []string{file}, o)
		if err != nil {
			return all, err
		}
		all.OK = all.OK && report.OK
		all.Cases = append(all.Cases, report.Cases...)
	}
	return all, nil
}

// goldenCase sums up the runs of one case in one dtype over all rings, layouts and ways.
type goldenCase struct {
	name, dtype  string
	runs, failed int
	worst        gradcheck.CaseReport // the run with the largest error
	tensor       string               // where it has it
	errors       []string             // why it did not run
}

// summarize makes a line a case and dtype, in the report's order.
func summarize(r gradcheck.Report) []goldenCase {
	var cases []goldenCase
	for _, run := range r.Cases {
		same := func(c goldenCase) bool { return c.name == run.Case && c.dtype == run.DType }
		i := slices.IndexFunc(cases, same)
		if i < 0 {
			i = len(cases)
			cases = append(cases, goldenCase{name: run.Case, dtype: run.DType})
		}
		cases[i].add(run)
	}
	return cases
}

func (c *goldenCase) add(run gradcheck.CaseReport) {
	c.runs++
	if !run.OK {
		c.failed++
	}
	if run.Error != "" {
		if !slices.Contains(c.errors, run.Error) {
			c.errors = append(c.errors, run.Error)
		}
		return
	}
	tensor, figure := worst(run.MaxRel)
	if c.tensor == "" || !(figure <= c.worst.MaxRel[c.tensor]) {
		c.worst, c.tensor = run, tensor
	}
}

// worst names the largest figure; NaN is larger than all.
func worst(figures map[string]float64) (name string, figure float64) {
	for key, value := range figures {
		if name == "" || math.IsNaN(value) || value > figure || value == figure && key < name {
			name, figure = key, value
		}
	}
	return name, figure
}

func (c *goldenCase) row() []string {
	figure, limit, at := "", "", "did not run"
	if c.tensor != "" {
		figure, limit = figureText(c.worst.MaxRel[c.tensor]), fmt.Sprintf("%.0e", c.worst.Limit)
		at = strings.TrimSpace(fmt.Sprintf("%s, ring %d %s %s", c.tensor, c.worst.Ring, c.worst.Layout, c.worst.Way))
	}
	return []string{c.name, c.dtype, fmt.Sprint(c.runs), figure, limit, at, passed(c.failed == 0)}
}

func printGolden(out *output, cases []goldenCase) error {
	rows := make([][]string, len(cases))
	for i, c := range cases {
		rows[i] = c.row()
	}
	if err := out.table([]string{"case", "dtype", "runs", "worst error", "limit", "at", ""}, rows); err != nil {
		return err
	}
	for _, reason := range reasons(cases) {
		if err := out.paragraph(reason, "    "); err != nil {
			return err
		}
	}
	return nil
}

// reasons are the errors of all cases, each once.
func reasons(cases []goldenCase) []string {
	var all []string
	for _, c := range cases {
		for _, text := range c.errors {
			text = strings.TrimPrefix(text, "gradcheck: ")
			if !strings.Contains(text, c.name) {
				text = c.name + ": " + text
			}
			if !slices.Contains(all, text) {
				all = append(all, text)
			}
		}
	}
	return all
}
