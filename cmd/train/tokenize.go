package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/trainer/data"
	"github.com/ringgrad/ringgrad/trainer/tokenizer"
)

// tokenized is one document of `train tokenize --json`.
type tokenized struct {
	IDs    []int32  `json:"ids"`
	Pieces []string `json:"pieces"`
}

func newTokenize(out *output) *cobra.Command {
	var model, path, field string
	var special bool
	cmd := &cobra.Command{
		Use:   "tokenize --model DIR --data FILE",
		Short: "Print the token ids and pieces of each document",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			tok, err := tokenizer.Load(model)
			if err != nil {
				return err
			}
			texts, err := data.ReadTexts(data.Source{Path: path, Field: field})
			if err != nil {
				return err
			}
			documents := make([]tokenized, 0, len(texts))
			for i, text := range texts {
				ids, err := tok.Encode(text, special)
				if err != nil {
					return fmt.Errorf("tokenize: %s: document %d: %w", path, i+1, err)
				}
				documents = append(documents, tokenized{IDs: ids, Pieces: tok.Pieces(ids)})
			}
			return printTokens(out, documents)
		},
	}
	cmd.Flags().StringVar(&model, "model", "", "folder with tokenizer.json")
	cmd.Flags().StringVar(&path, "data", "", "JSONL with a text field, or plain text (one document)")
	cmd.Flags().StringVar(&field, "field", "text", "the JSONL field that holds the text")
	cmd.Flags().BoolVar(&special, "add-special-tokens", true, "add BOS and the like, as the tokenizer does by default")
	required(cmd, "model", "data")
	return cmd
}

func printTokens(out *output, documents []tokenized) error {
	if out.json {
		return out.document(map[string]any{"documents": documents})
	}
	for _, d := range documents {
		var line strings.Builder
		for i, id := range d.IDs {
			fmt.Fprintf(&line, "%d:%q ", id, d.Pieces[i])
		}
		if _, err := fmt.Fprintln(out.stdout, strings.TrimSpace(line.String())); err != nil {
			return err
		}
	}
	return nil
}

// required marks flags without which the command refuses to run.
func required(cmd *cobra.Command, names ...string) {
	for _, name := range names {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // the flag is not defined: a mistake in this program
		}
	}
}
