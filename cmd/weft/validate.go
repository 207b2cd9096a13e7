package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"weft.dev/schema"
)

func (a *app) validate() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "validate [DIR]",
		Short: "Say everything that is wrong with a tree",
		Long: `Parse, resolve, check numbers and compile the tree in DIR (default: here), judge it by its
policies and the built-in ones, and report every mistake with file:line:col. Needs neither root nor a host. Exit status 1 if invalid.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := oneOf("-o", format, "text", "json", "sarif", "junit", "github"); err != nil {
				return err
			}
			return a.doValidate(dirArg(args), format)
		},
	}
	c.Flags().StringVarP(&format, "output", "o", "text", "text, json, sarif, junit or github")
	return c
}

func (a *app) doValidate(dir, format string) error {
	patient()
	t, err := newCompiler().workTree(dir)
	if err != nil {
		return err
	}
	t.checkLock()
	t.readPolicies()
	t.judge()
	if err := a.writeDiags(a.out, format, t.diags, t.source); err != nil {
		return err
	}
	bad, doubtful := count(t.diags)
	if format == "text" {
		switch {
		case bad+doubtful == 0:
			fmt.Fprintf(a.out, "Valid: %s.\n", t.summary())
		case bad == 0:
			fmt.Fprintf(a.out, "Valid, with %s: %s.\n", counted(doubtful, "warning"), t.summary())
		default:
			fmt.Fprintf(a.out, "Invalid: %s, %s.\n", counted(bad, "error"), counted(doubtful, "warning"))
		}
	}
	if bad > 0 {
		return exit{code: exitError}
	}
	return nil
}

func count(ds schema.Diags) (bad, doubtful int) {
	for _, d := range ds {
		if d.Severity == schema.Error {
			bad++
		} else {
			doubtful++
		}
	}
	return bad, doubtful
}

// summary says what the tree holds.
func (c *compiled) summary() string {
	kinds := map[string]int{}
	for _, d := range c.tree.Documents {
		kinds[d.Kind]++
	}
	vpcs := ""
	if n := kinds["VPC"]; n > 0 {
		vpcs = counted(n, "VPC") + ", "
	}
	return fmt.Sprintf("%s on %s, %s%s, %s", counted(kinds["Network"], "network"), counted(kinds["Host"], "host"), vpcs,
		counted(kinds["VirtualMachine"], "virtual machine"), counted(kinds["PublicIP"], "public IP"))
}
