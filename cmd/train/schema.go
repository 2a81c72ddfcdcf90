package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/trainer/config"
)

func newSchema(out *output) *cobra.Command {
	var markdown bool
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of the config (it is also configs/schema.json)",
		RunE: func(*cobra.Command, []string) error {
			if markdown && out.json {
				return errors.New("schema: --markdown and --json exclude each other; the schema is JSON without a flag")
			}
			if markdown {
				return out.printf("%s", config.MarkdownTable())
			}
			schema, err := config.Schema()
			if err != nil {
				return failed{err}
			}
			return out.raw(schema)
		},
	}
	cmd.Flags().BoolVar(&markdown, "markdown", false, "print the table of keys for the README instead")
	return cmd
}
