package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// later are the verbs that the product will have: known words, so that a script
// that uses one is told so.
func (a *app) later() []*cobra.Command {
	var out []*cobra.Command
	for _, name := range []string{"explain", "graph", "reach", "test", "trace"} {
		out = append(out, &cobra.Command{
			Use: name, Short: "not there yet", Hidden: true, DisableFlagParsing: true,
			RunE: func(*cobra.Command, []string) error {
				return fmt.Errorf("weft %s is not there yet: a later release brings it", name)
			},
		})
	}
	return out
}
