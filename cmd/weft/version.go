package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"
)

func (a *app) version() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if err := oneOf("-o", format, "text", "json"); err != nil {
				return err
			}
			if format == "json" {
				return indented(a.out, map[string]string{"version": version, "go": runtime.Version(), "api": "weft.dev/v1alpha1"})
			}
			_, err := fmt.Fprintf(a.out, "weft %s (%s, %s/%s)\n", version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
	c.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	return c
}
