package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/trainer/data"
	"github.com/ringgrad/ringgrad/trainer/tokenizer"
)

// tokenizeFlags are the flags of `train tokenize`.
type tokenizeFlags struct {
	model, data, field string
	special            bool
}

// tokenized is one document of `train tokenize --json`.
type tokenized struct {
	IDs    []int32  `json:"ids"`
	Pieces []string `json:"pieces"`
}

func newTokenize(out *output) *cobra.Command {
	var f tokenizeFlags
	cmd := &cobra.Command{
		Use:   "tokenize --model DIR --data FILE",
		Short: "Print the token ids and pieces of each document",
		RunE: func(*cobra.Command, []string) error {
			documents, err := f.documents()
			if err != nil {
				return err
			}
			if out.json {
				return out.document(map[string]any{"documents": documents})
			}
			return printTokens(out, documents)
		},
	}
	cmd.Flags().StringVar(&f.model, "model", "", "folder `DIR` with tokenizer.json")
	cmd.Flags().StringVar(&f.data, "data", "", "JSONL `FILE` with a text field, or plain text (one document)")
	cmd.Flags().StringVar(&f.field, "field", "text", "the JSONL field `NAME` that holds the text")
	cmd.Flags().BoolVar(&f.special, "add-special-tokens", true, "add BOS and the like, as the tokenizer does by default")
	required(cmd, "model", "data")
	return cmd
}

func (f tokenizeFlags) documents() ([]tokenized, error) {
	tok, err := tokenizer.Load(f.model)
	if err != nil {
		return nil, err
	}
	texts, err := data.ReadTexts(data.Source{Path: f.data, Field: f.field})
	if err != nil {
		return nil, err
	}
	documents := make([]tokenized, len(texts))
	for i, text := range texts {
		ids, err := tok.Encode(text, f.special)
		if err != nil {
			return nil, fmt.Errorf("tokenize: %s: document %d: %w", f.data, i+1, err)
		}
		documents[i] = tokenized{IDs: ids, Pieces: tok.Pieces(ids)}
	}
	return documents, nil
}

// printTokens shows each document as id:"piece" pairs below a heading.
func printTokens(out *output, documents []tokenized) error {
	for i, d := range documents {
		if err := out.printf("document %d: %s\n", i+1, count(len(d.IDs), "token")); err != nil {
			return err
		}
		var line strings.Builder
		for j, id := range d.IDs {
			fmt.Fprintf(&line, " %d:%s", id, quoted(d.Pieces[j]))
		}
		if err := out.paragraph(line.String(), ""); err != nil {
			return err
		}
	}
	return nil
}

// quoted writes a piece without spaces, at which the line is broken.
func quoted(piece string) string { return strings.ReplaceAll(fmt.Sprintf("%q", piece), " ", "␣") }
