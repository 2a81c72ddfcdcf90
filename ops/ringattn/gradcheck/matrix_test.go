package gradcheck

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/ringgrad/ringgrad/dist/shard"
	"github.com/ringgrad/ringgrad/ops/ringattn"
	"github.com/ringgrad/ringgrad/ops/ringattn/ring"
)

var update = flag.Bool("update", false, "write the table of options in README.md anew")

// The lines of the README between which the table stands.
const (
	matrixReadme = "../../../README.md"
	matrixBegin  = "<!-- options: go test ./ops/ringattn/gradcheck -run Matrix -update -->\n"
	matrixEnd    = "<!-- end of options -->"
	matrixWidth  = 100 // columns of the table
)

// matrixWays are the table's columns in float64: what goes through how large a ring.
var matrixWays = []struct {
	name string
	ring int
	Way
}{
	{"kv", 3, Way{Travel: ring.KV}},
	{"q", 3, Way{Travel: ring.Q}},
	{"auto", 3, Way{Travel: ring.Auto}},
	{"ulysses", 2, Way{Ulysses: 2}},
	{"hybrid", 4, Way{Ulysses: 2}},
	{"double", 4, Way{InnerRing: 2}},
}

// matrixTypes are the table's other columns, over all ways: what they are compared by, the limit and how the table has it.
var matrixTypes = []struct {
	dtype, cell string
	limit       float64
	figure      func(got, want ringattn.DenseResult) float64
}{
	{Float64, "exact", 1e-12, largestError},
	{Float32, "2e-5", 2e-5, largestError},
	{BFloat16, "1.2%", 0.012, meanError},
}

func largestError(got, want ringattn.DenseResult) float64 {
	_, rel := compare(got, want)
	return rel.Worst()
}

// meanError is the largest root mean square of the tensors that have enough numbers for one. The log-sum-exp is in float32.
func meanError(got, want ringattn.DenseResult) float64 {
	e := accuracy(got, want)
	delete(e, "d_sinks")
	delete(e, "lse")
	return e.Worst()
}

// documented are the errors that a cell may be instead of right.
var documented = []struct {
	name string
	error
}{{"ErrNoBFloat16", ringattn.ErrNoBFloat16}, {"ErrHeads", ring.ErrHeads}}

// devices run a setup: alone in one rank, as a ring inside of one graph, or with a graph a rank.
func devices(s setup) map[string]func(ctx context.Context, in ringattn.DenseInputs) (ringattn.DenseResult, error) {
	inGraph := func(s setup) func(ctx context.Context, in ringattn.DenseInputs) (ringattn.DenseResult, error) {
		return func(ctx context.Context, in ringattn.DenseInputs) (ringattn.DenseResult, error) {
			r, _, err := attend(ctx, in, s)
			return r, err
		}
	}
	all := map[string]func(ctx context.Context, in ringattn.DenseInputs) (ringattn.DenseResult, error){
		"Devices": inGraph(s),
		"Comm": func(ctx context.Context, in ringattn.DenseInputs) (ringattn.DenseResult, error) {
			return attendPerRank(ctx, in, s)
		},
	}
	if s.single() {
		s.Ring = 1
		all["one rank"] = inGraph(s)
	}
	return all
}

// matrixOptions are the table's rows: the suite's variants, and one KV head, which no two ranks can share.
func matrixOptions() []variant {
	all := variants(37)
	mqa := all[1]
	mqa.name, mqa.KVHeads = "MQA", 1
	return slices.Insert(all, slices.IndexFunc(all, func(v variant) bool { return v.name == "everything" }), mqa)
}

// cell runs one option one way in one type, in every layout and on every device, and says what all of them are.
func cell(t *testing.T, in ringattn.DenseInputs, want ringattn.DenseResult, s setup, text string, limit float64, figure func(got, want ringattn.DenseResult) float64) string {
	t.Helper()
	found := map[string]bool{}
	for _, s.Layout = range shard.Layouts() {
		for device, run := range devices(s) {
			got, err := run(t.Context(), in)
			if err != nil {
				found[errorName(t, err, describe(in, s)+", "+device)] = true
				continue
			}
			if e := figure(got, want); !(e <= limit) {
				t.Errorf("%s, %s: the error is %.3g, over %.3g", describe(in, s), device, e, limit)
			}
			found[text] = true
		}
	}
	if len(found) != 1 {
		t.Errorf("%s: layouts and devices differ: %v", describe(in, s), found)
	}
	for text := range found {
		return text
	}
	return ""
}

func errorName(t *testing.T, err error, what string) string {
	t.Helper()
	for _, d := range documented {
		if errors.Is(err, d.error) {
			return d.name
		}
	}
	t.Errorf("%s: an error that is not documented: %v", what, err)
	return err.Error()
}

// TestMatrixOfOptionsIsExactOrADocumentedError walks options by layouts, ways, devices and types, and holds the table in the README
// against what it finds.
func TestMatrixOfOptionsIsExactOrADocumentedError(t *testing.T) {
	rows := make([][]string, len(matrixOptions()))
	for i, v := range matrixOptions() {
		rows[i] = []string{v.name}
	}
	for _, typ := range matrixTypes {
		t.Run(typ.dtype, func(t *testing.T) {
			absent := typ.dtype == BFloat16 && ring.CheckArithmetic(ring.CPU, ring.BFloat16) != nil
			for i, v := range matrixOptions() {
				in := rounded(random(uint64(i), v.DenseInputs, 1))
				want := ringattn.Dense(in)
				cells := map[string]bool{}
				for _, way := range matrixWays {
					s := setup{Ring: way.ring, DType: typ.dtype, Way: way.Way}
					text := typ.cell
					if absent {
						if got := cell(t, in, want, s, text, 0, nil); got != "ErrNoBFloat16" && got != "ErrHeads" {
							t.Errorf("%s without bfloat16: %s", describe(in, s), got)
						}
					} else {
						text = cell(t, in, want, s, text, typ.limit, typ.figure)
					}
					if cells[text] = true; typ.dtype == Float64 {
						rows[i] = append(rows[i], text)
					}
				}
				if delete(cells, "ErrHeads"); typ.dtype != Float64 { // float64's columns have those
					for text := range cells {
						rows[i] = append(rows[i], text)
					}
				}
			}
			if absent {
				t.Skip("SKIPPED: this processor has no bfloat16; the column in the README is what those that have it give")
			}
		})
	}
	if !t.Failed() {
		requireReadme(t, matrixTable(rows))
	}
}

func matrixTable(rows [][]string) string {
	head := []string{"option"}
	for _, way := range matrixWays {
		head = append(head, way.name)
	}
	head = append(head, Float32, BFloat16)
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(head)
	line(slices.Repeat([]string{"---"}, len(head)))
	for _, row := range rows {
		line(row)
	}
	return b.String()
}

func requireReadme(t *testing.T, table string) {
	t.Helper()
	for line := range strings.Lines(table) {
		if len(line) > matrixWidth+1 {
			t.Errorf("a line of %d columns: %s", len(line)-1, line)
		}
	}
	readme, err := os.ReadFile(matrixReadme)
	if err != nil {
		t.Skipf("SKIPPED: no README: %v", err)
	}
	before, rest, begins := bytes.Cut(readme, []byte(matrixBegin))
	_, after, ends := bytes.Cut(rest, []byte(matrixEnd))
	if !begins || !ends {
		t.Fatalf("README.md has no lines %q and %q", matrixBegin, matrixEnd)
	}
	current := slices.Concat(before, []byte(matrixBegin), []byte(table), []byte(matrixEnd), after)
	switch {
	case bytes.Equal(current, readme):
	case *update:
		if err := os.WriteFile(matrixReadme, current, 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("the table of options in README.md is not what was found; run go test ./ops/ringattn/gradcheck -run Matrix -update\n%s", table)
	}
}
