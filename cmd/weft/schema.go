package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"weft.dev/reconcile/host"
	"weft.dev/schema"
)

func (a *app) schema() *cobra.Command {
	var out, format string
	c := &cobra.Command{
		Use:   "schema [KIND]",
		Short: "Print the JSON Schema or the reference of the language",
		Long: `Without KIND: list the kinds. With KIND: its JSON Schema, or with -o text what each field
means. --out DIR writes one KIND.schema.json per kind, for editors:
  # yaml-language-server: $schema=./schema/network.schema.json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := oneOf("-o", format, "json", "text"); err != nil {
				return err
			}
			if out != "" {
				return a.writeSchemas(out)
			}
			if len(args) == 0 {
				fmt.Fprintln(a.out, strings.Join(schema.Kinds(), "\n"))
				return nil
			}
			return a.printSchema(args[0], format)
		},
	}
	c.Flags().StringVar(&out, "out", "", "write every schema into this directory")
	c.Flags().StringVarP(&format, "output", "o", "json", "json (JSON Schema) or text (reference)")
	return c
}

func (a *app) printSchema(name, format string) error {
	for _, kind := range schema.Kinds() {
		if !strings.EqualFold(kind, name) {
			continue
		}
		text := string(schema.JSONSchema(kind))
		if format == "text" {
			text = schema.Reference(kind)
		}
		_, err := fmt.Fprintln(a.out, strings.TrimRight(text, "\n"))
		return err
	}
	return fmt.Errorf("no kind %q: the kinds are %s", name, strings.Join(schema.Kinds(), ", "))
}

func (a *app) writeSchemas(dir string) error {
	for _, kind := range schema.Kinds() {
		path := filepath.Join(dir, strings.ToLower(kind)+".schema.json")
		if err := host.WriteFile(path, schema.JSONSchema(kind), 0o644); err != nil {
			return err
		}
		fmt.Fprintln(a.out, path)
	}
	return nil
}
