package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/ringgrad/ringgrad/ops/ringattn/gradcheck"
	modelcheck "github.com/ringgrad/ringgrad/trainer/gradcheck"
)

func checkModel(ctx context.Context, out *output, dir string, o gradcheck.Options) error {
	results, err := modelcheck.CheckModel(ctx, dir, modelcheck.Options{Rings: o.Rings, Layouts: o.Layouts, DTypes: o.DTypes, Device: o.Device})
	if err != nil {
		return err
	}
	bad := 0
	for _, r := range results {
		if !r.OK {
			bad++
		}
	}
	if out.json {
		err = out.document(map[string]any{"ok": bad == 0, "models": results})
	} else {
		err = printModel(out, dir, results)
	}
	if err != nil {
		return err
	}
	return verdict(bad, len(results), "runs")
}

// shortName leaves out of a parameter's name what all of them have.
func shortName(name string) string {
	name = strings.TrimPrefix(strings.TrimPrefix(name, "grad."), "model.")
	return strings.TrimSuffix(name, ".weight")
}

func printModel(out *output, dir string, results []modelcheck.ModelResult) error {
	rows := make([][]string, 0, len(results))
	var errors []string
	for _, r := range results {
		row := []string{fmt.Sprint(r.Ring), string(r.Layout), r.DType, "", fmt.Sprintf("%.6f", r.LossExpected), "", "did not run", passed(r.OK)}
		if r.Error == "" {
			name, figure := r.Worst()
			row[3], row[5], row[6] = fmt.Sprintf("%.6f", r.Loss), figureText(figure), shortName(name)
		} else if !slices.Contains(errors, r.Error) {
			errors = append(errors, r.Error)
		}
		rows = append(rows, row)
	}
	if err := out.paragraph(dir+" against its reference.safetensors", ""); err != nil {
		return err
	}
	if err := out.table([]string{"ring", "layout", "dtype", "loss", "expected", "error", "at", ""}, rows); err != nil {
		return err
	}
	for _, reason := range errors {
		if err := out.paragraph(reason, "    "); err != nil {
			return err
		}
	}
	return nil
}
