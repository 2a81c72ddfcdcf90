package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/tw"
	"golang.org/x/term"
)

// tableWidth is the widest line a table may have.
const tableWidth = 100

// output is where a command prints: results on stdout (tables, or one JSON document), everything else on stderr.
type output struct {
	stdout, stderr io.Writer
	json           bool // --json
	written        bool // the JSON document is out
}

func newOutput(stdout, stderr io.Writer) *output { return &output{stdout: stdout, stderr: stderr} }

// notef prints one line of progress.
func (o *output) notef(format string, args ...any) {
	_, _ = fmt.Fprintf(o.stderr, format+"\n", args...)
}

// document prints v as the command's one JSON document.
func (o *output) document(v any) error {
	o.written = true
	e := json.NewEncoder(o.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// failure keeps the promise of one JSON document when a command ends before it printed its own.
func (o *output) failure(message string) {
	if o.json && !o.written {
		_ = o.document(map[string]any{"ok": false, "error": message})
	}
}

// table prints rows under a header; numeric columns (all but the first) are right-aligned.
func (o *output) table(header []string, rows [][]string) error {
	align := make([]tw.Align, len(header))
	for i := range align {
		align[i] = tw.AlignRight
	}
	align[0] = tw.AlignLeft
	cells := tw.CellConfig{
		Formatting: tw.CellFormatting{AutoFormat: tw.Off},
		Alignment:  tw.CellAlignment{PerColumn: align},
	}
	t := tablewriter.NewTable(o.stdout,
		tablewriter.WithConfig(tablewriter.Config{Header: cells, Row: cells, MaxWidth: tableWidth}),
		tablewriter.WithRendition(tw.Rendition{Symbols: tw.NewSymbols(tw.StyleRounded)}))
	t.Header(header)
	if err := t.Bulk(rows); err != nil {
		return err
	}
	return t.Render()
}

// terminal reports whether stderr is a terminal, where a progress bar may draw.
func (o *output) terminal() bool {
	f, ok := o.stderr.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// colour reports whether escape codes are welcome on stderr (https://no-color.org).
func (o *output) colour() bool { return o.terminal() && os.Getenv("NO_COLOR") == "" }
