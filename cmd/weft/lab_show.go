package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"weft.dev/reconcile/lab"
)

// runChild runs a command in a node with the app's own streams.
func (l *labApp) runChild(ctx context.Context, c *lab.Client, name string, argv []string) error {
	line, err := c.Command(ctx, name, l.host, argv)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = l.in, l.out, l.err
	err = cmd.Run()
	var status *exec.ExitError
	if errors.As(err, &status) {
		return exit{code: status.ExitCode()}
	}
	return err
}

func (l *labApp) ls() *cobra.Command {
	var format string
	c := &cobra.Command{
		Use:   "ls",
		Short: "List the nodes of a lab",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := oneOf("-o", format, "text", "json"); err != nil {
				return err
			}
			return l.with(func(c *lab.Client) error {
				st, err := c.Status(cmd.Context())
				if err != nil {
					return err
				}
				if format == "json" {
					return indented(l.out, st)
				}
				return l.table(st)
			})
		},
	}
	c.Flags().StringVarP(&format, "output", "o", "text", "text or json")
	return c
}

func (l *labApp) table(st lab.Status) error {
	w := tabwriter.NewWriter(l.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tSTATE\tHOST\tADDRESSES")
	for _, n := range st.Nodes {
		var addrs []string
		for _, nic := range n.NICs {
			switch {
			case nic.Ready && len(nic.Addresses) > 0:
				for _, a := range nic.Addresses {
					addrs = append(addrs, a.String())
				}
			case nic.Ready: // of an L2 network
				addrs = append(addrs, nic.Name+": none")
			default:
				addrs = append(addrs, nic.Name+": none yet")
			}
		}
		state := string(n.State)
		if n.Reason != "" {
			state += " (" + n.Reason + ")"
		}
		for _, s := range n.Services {
			if !s.Running {
				state += ", " + s.Name + " stopped"
			}
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", n.Name, state, n.Host, strings.Join(addrs, " "))
	}
	return w.Flush()
}
