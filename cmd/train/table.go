package main

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/olekukonko/tablewriter"
	"github.com/olekukonko/tablewriter/tw"
)

const (
	tableWidth = 100 // columns of the widest line
	cellFrame  = 3   // columns that a cell takes besides its text
)

// table prints rows under a header. Columns of figures are right-aligned; the widest columns are wrapped where a line would be too long.
func (o *output) table(header []string, rows [][]string) error {
	widths := columnWidths(append([][]string{header}, rows...))
	align := make([]tw.Align, len(header))
	for column := range align {
		align[column] = tw.AlignLeft
		if holdsFigures(rows, column) {
			align[column] = tw.AlignRight
		}
	}
	cells := tw.CellConfig{
		Formatting: tw.CellFormatting{AutoFormat: tw.Off, AutoWrap: tw.WrapNone},
		Alignment:  tw.CellAlignment{PerColumn: align},
	}
	t := tablewriter.NewTable(o.stdout,
		tablewriter.WithConfig(tablewriter.Config{Header: cells, Row: cells}),
		tablewriter.WithRendition(tw.Rendition{Symbols: tw.NewSymbols(tw.StyleRounded)}))
	t.Header(wrapCells(header, widths))
	for _, row := range rows {
		if err := t.Append(wrapCells(row, widths)); err != nil {
			return err
		}
	}
	return t.Render()
}

// columnWidths takes columns off the widest until a line fits.
func columnWidths(rows [][]string) []int {
	widths := make([]int, len(rows[0]))
	total := 1
	for column := range widths {
		for _, row := range rows {
			widths[column] = max(widths[column], utf8.RuneCountInString(row[column]))
		}
		total += widths[column] + cellFrame
	}
	for ; total > tableWidth; total-- {
		widths[slices.Index(widths, slices.Max(widths))]--
	}
	return widths
}

// holdsFigures reports whether every cell of a column is empty or begins with a number.
func holdsFigures(rows [][]string, column int) bool {
	for _, row := range rows {
		if cell := row[column]; cell != "" && !strings.ContainsAny(cell[:1], "0123456789-+") && cell != "NaN" {
			return false
		}
	}
	return true
}

func wrapCells(row []string, widths []int) []string {
	cells := make([]string, len(row))
	for i, text := range row {
		cells[i] = strings.Join(wrap(text, widths[i]), "\n")
	}
	return cells
}

// paragraph prints text within the width of a table; lines after the first are indented.
func (o *output) paragraph(text, indent string) error {
	for i, line := range wrap(text, tableWidth-len(indent)) {
		if i > 0 {
			line = indent + line
		}
		if err := o.printf("%s\n", line); err != nil {
			return err
		}
	}
	return nil
}

// wrap breaks text at spaces into lines of at most width columns; a longer word is cut.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
		for utf8.RuneCountInString(line) > width {
			runes := []rune(line)
			lines, line = append(lines, string(runes[:width])), string(runes[width:])
		}
	}
	return append(lines, line)
}
