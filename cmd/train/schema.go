package main

import (
	"github.com/spf13/cobra"

	"github.com/ringgrad/ringgrad/trainer/config"
)

func newSchema(out *output) *cobra.Command {
	var markdown bool
	cmd := &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON schema of the config (it is also configs/schema.json)",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			out.written = true
			if markdown {
				_, err := out.stdout.Write([]byte(config.MarkdownTable()))
				return err
			}
			schema, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = out.stdout.Write(schema)
			return err
		},
	}
	cmd.Flags().BoolVar(&markdown, "markdown", false, "print the table of keys for the README instead")
	return cmd
}
